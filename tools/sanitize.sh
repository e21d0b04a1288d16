#!/usr/bin/env bash
# Builds what reads files from strangers with ASan and UBSan, and runs its tests, the malformed files above all.
# The build is the fuzzers' (tools/fuzz.sh), which has the same sanitizers: one less to wait for.
# Usage: tools/sanitize.sh
set -euo pipefail
cd "$(dirname "$0")/.."

tests=(base_test formats_test text_test kv_test calibration_test bad_files_test bad_files_cli_test)
cmake --preset fuzz --log-level=WARNING
cmake --build --preset fuzz --target "${tests[@]}"
pattern="^($(IFS='|'; echo "${tests[*]}"))\$"
ctest --test-dir build/fuzz --output-on-failure --no-tests=error -R "$pattern"
