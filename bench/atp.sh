#!/usr/bin/env bash
# How long a layer takes to read a text by the forms of atp, beside dense attention: a BERT-base layer as an encoder, and
# a Llama layer of 32/8 heads of 128 as a prompt, into bench/results/atp-*.json. Minutes on two cores, half an hour with
# the longest lengths of the prompt.
# Usage: bench/atp.sh BUILD_FOLDER [NAME_SUFFIX] [OPTION OF bench reading ...]
set -euo pipefail
cd "$(dirname "$0")/.."

build=$1 suffix=${2:-}
shift $(($# > 1 ? 2 : 1))
softmax=atp:form=softmax,r=128 linear=atp:form=linear
reading() { python3 bench/record.py "atp-$1$suffix" "$build/apps/cli/lowkey" bench reading --json "${@:2}"; }

reading encoder --length 512,1024,2048,4096,8192,16384,32768 --attention dense --attention $softmax,linear=off \
  --attention $softmax --attention $linear "$@"
reading prompt --prompt --heads 32 --kv-heads 8 --head-dim 128 --ffn 14336 --weights f16 --kv-type f16 \
  --length 1024,2048,4096,8192,16384,32768 --attention dense --attention $softmax,chunk=512 \
  --attention $linear "$@"
