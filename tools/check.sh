#!/usr/bin/env bash
# All that is checked without compiling. Every check runs, even after one has failed.
# Usage: tools/check.sh
set -uo pipefail
cd "$(dirname "$0")/.."

failed=0
for check in check_layers check_methods check_docs check_sizes; do
  python3 "tools/$check.py" || failed=1
done
python3 tools/readme_table.py --check || failed=1
python3 tools/checks_test.py 2>/dev/null || { echo "checks_test: a check cannot fail any more; run python3 tools/checks_test.py" >&2; failed=1; }
if git ls-files '*.h' '*.cc' | xargs clang-format-19 --dry-run --Werror; then
  echo "check_format: every C++ file is laid out as clang-format says"
else
  echo "check_format: run make format" >&2
  failed=1
fi
exit $failed
