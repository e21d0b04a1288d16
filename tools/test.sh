#!/usr/bin/env bash
# Runs every test of a build: as the machine is, then without AMX, then without AVX-512, then without AVX2, leaving
# out what the machine does not have anyway. So every path is tested that can run here, not only the best. The tests
# of single ops walk through the instruction sets by themselves: once is enough.
# Usage: tools/test.sh BUILD_FOLDER
set -euo pipefail

run() { ctest --test-dir "$1" --output-on-failure --no-tests=error -j 2 "${@:2}"; }
ops='^(linear_test|attention_test|key_index_test)$'
has() { grep -qw "$1" /proc/cpuinfo; }

echo "== every instruction set of this machine"
run "$1"
lower=()
has amx_bf16 && lower+=(avx512)
has avx512f && lower+=(avx2)
has avx2 && lower+=(baseline)
for isa in "${lower[@]}"; do
  echo "== nothing above $isa (LOWKEY_ISA=$isa)"
  LOWKEY_ISA=$isa run "$1" -E "$ops"
done
