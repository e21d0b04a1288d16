#!/usr/bin/env bash
# Tests of python/: ruff, then pytest, with the programs of a build for what the engine must say too. Runs in a virtual
# environment in BUILD_FOLDER/python, made on first use (PyTorch is large; PIP_INDEX_URL may name an index with one for
# CPUs alone), or with the interpreter that PYTHON names.
# Usage: tools/test_python.sh BUILD_FOLDER
set -euo pipefail
build=$(realpath "$1")
cd "$(dirname "$0")/../python"

python=${PYTHON:-$build/python/bin/python}
if [[ ! -x $python && -z ${PYTHON:-} ]]; then
  python3 -m venv "$build/python"
  "$python" -m pip install -q -e '.[test]' || { rm -rf "$build/python"; exit 1; }
fi
"$python" -m ruff check .
LOWKEY_BUILD=$build OMP_NUM_THREADS=${OMP_NUM_THREADS:-2} "$python" -m pytest -q
