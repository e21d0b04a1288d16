#!/usr/bin/env bash
# What can be measured on any machine: the demo, the attention of one layer beside a probe of the memory, and the bundled
# model decoding and reading a prompt.
# Results, with command, commit and machine, go to bench/results; tables of the README are made from them by
# tools/readme_table.py. Comparisons need more (a gigabyte, minutes): bench/versus_llama.py, bench/versus_torch.py.
# Usage: bench/run.sh BUILD_FOLDER
set -euo pipefail
cd "$(dirname "$0")/.."

record() { python3 bench/record.py "$@"; }

record demo "$1/apps/demo/lowkey_demo" --model models/demo-12m.q8_0.gguf --book models/book.txt --json {}
record attention "$1/apps/cli/lowkey" bench attention --json
record decode "$1/apps/cli/lowkey" bench decode models/demo-12m.q8_0.gguf --depth 0,4096,16384 --attention dense \
  --attention loki --json
record prefill "$1/apps/cli/lowkey" bench prefill models/demo-12m.q8_0.gguf --depth 0,4096 --json
