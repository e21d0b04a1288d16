#!/usr/bin/env bash
# Builds the rooms that read files from strangers with ASan and UBSan, and runs their tests.
# Usage: tools/sanitize.sh
set -euo pipefail
cd "$(dirname "$0")/.."

tests=(base_test formats_test text_test kv_test)
cmake --preset asan --log-level=WARNING
cmake --build --preset asan --target "${tests[@]}"
pattern="^($(IFS='|'; echo "${tests[*]}"))\$"
ctest --test-dir build/asan --output-on-failure --no-tests=error -R "$pattern"
