#!/usr/bin/env bash
# Installs the Debian packages that a job needs and this machine lacks; does nothing when all are there.
# Usage: tools/install_packages.sh GROUP...     GROUP: build | bench | fuzz | check | python
set -euo pipefail

build="g++ cmake ninja-build pkg-config ccache libeigen3-dev libhwy-dev nlohmann-json3-dev libcli11-dev
       libfmt-dev libpcre2-dev libutf8proc-dev libgtest-dev libjs-chart.js"
bench="git python3"
fuzz="clang-19 libclang-rt-19-dev"  # clang's sanitizers
check="clang-format-19 git python3"
python="python3-venv"

wanted=()
for group in "$@"; do
  case $group in
    build | bench | fuzz | check | python) read -r -d '' -a names <<<"${!group}" || true ;;
    *) echo "install_packages: '$group', must be build, bench, fuzz, check or python" >&2; exit 2 ;;
  esac
  wanted+=("${names[@]}")
done

installed() { [[ $(dpkg-query -W -f '${Status}' "$1" 2>/dev/null) == "install ok installed" ]]; }

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
  # Another system: its own package manager may have brought the same things, so CMake has the last word.
  echo "install_packages: no apt-get here. Should the build miss something, these are the Debian names:" >&2
  echo "  ${wanted[*]}" >&2
  command -v cmake >/dev/null && exit 0
  exit 1
fi

missing=()
for name in "${wanted[@]}"; do installed "$name" || missing+=("$name"); done
[[ ${#missing[@]} -eq 0 ]] && exit 0

echo "Installing ${#missing[@]} Debian packages: ${missing[*]}"
as_root=()
if [[ $(id -u) -ne 0 ]]; then
  if ! command -v sudo >/dev/null; then
    echo "install_packages: neither root nor sudo here; as root, run: apt-get install ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0)
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { "${apt[@]}" update && "${apt[@]}" install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
  cat "$log" >&2
  echo "install_packages: apt-get failed (above); the packages are: ${missing[*]}" >&2
  exit 1
fi
