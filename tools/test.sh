#!/usr/bin/env bash
# Runs every test of a build: as the machine is, then held to AVX2, then held to the baseline (SSE2), so
# that the paths without AMX and AVX-512, and without AVX2, are tested on a machine that has them.
# Usage: tools/test.sh BUILD_FOLDER
set -euo pipefail

run() { ctest --test-dir "$1" --output-on-failure --no-tests=error; }

echo "== all instruction sets of this machine"
run "$1"
for isa in avx2 baseline; do
  echo "== nothing above $isa (LOWKEY_ISA=$isa)"
  LOWKEY_ISA=$isa run "$1"
done
