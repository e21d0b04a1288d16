#!/usr/bin/env bash
# Builds what reads files from strangers with ASan and UBSan, and runs its tests, the malformed files above all.
# Usage: tools/sanitize.sh
set -euo pipefail
cd "$(dirname "$0")/.."

tests=(base_test formats_test text_test kv_test bad_files_test bad_files_cli_test)
cmake --preset asan --log-level=WARNING
cmake --build --preset asan --target "${tests[@]}"
pattern="^($(IFS='|'; echo "${tests[*]}"))\$"
ctest --test-dir build/asan --output-on-failure --no-tests=error -R "$pattern"
