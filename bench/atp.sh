#!/usr/bin/env bash
# How long a layer takes to read a text by the forms of atp, beside dense attention: a BERT-base layer as an encoder, and
# a Llama layer of 32/8 heads of 128 as a prompt, into bench/results/atp-*.json. No run takes more than four minutes of two
# cores; the longest texts (-long) are read once by each method.
# Usage: bench/atp.sh BUILD_FOLDER [PART [NAME_SUFFIX [OPTION OF bench reading ...]]]
# PART: encoder, encoder-long, prompt, prompt-long; all without it.
set -euo pipefail
cd "$(dirname "$0")/.."

build=$1 part=${2:-all} suffix=${3:-}
shift $(($# > 2 ? 3 : $#))
softmax=atp:form=softmax,r=128 linear=atp:form=linear
encoder=(--attention dense --attention $softmax,linear=off --attention $softmax --attention $linear)
prompt=(--prompt --head-dim 128 --weights f16 --kv-type f16
  --attention dense --attention $softmax,chunk=512 --attention $linear)
reading() {
  if [ "$part" != all ] && [ "$part" != "$1" ]; then return; fi
  python3 bench/record.py "atp-$1$suffix" "$build/apps/cli/lowkey" bench reading --json "${@:2}"
}

reading encoder --length 512,1024,2048,4096,8192,16384 -r 3 "${encoder[@]}" "$@"
reading encoder-long --length 32768 -r 1 "${encoder[@]}" "$@"
reading prompt --heads 32 --kv-heads 8 --ffn 14336 --length 512,1024,2048,4096,8192 -r 3 "${prompt[@]}" "$@"
# A quarter of that layer: dense attention to the whole takes minutes.
reading prompt-long --heads 8 --kv-heads 2 --ffn 3584 --length 16384,32768 -r 1 "${prompt[@]}" "$@"
