#!/bin/sh
# Builds the fuzz targets with clang, AddressSanitizer and UndefinedBehaviorSanitizer, and runs each for SECONDS
# (60 unless given), two at a time. Fails when one finds something; the input that did it is left in build/fuzz.
#   tools/fuzz.sh [SECONDS]
set -eu
seconds=${1:-60}
cd "$(dirname "$0")/.."
targets="gguf safetensors tokenizer sentencepiece chat_template regex"

mkdir -p build
cmake --preset fuzz >build/fuzz-configure.log 2>&1 || { cat build/fuzz-configure.log; exit 1; }
ninja -C build/fuzz fuzz_seeds $(for target in $targets; do echo "fuzz_$target"; done)
build/fuzz/tests/fuzz/fuzz_seeds build/fuzz/seeds

# The corpus grows from run to run in a folder of its own; the seeds stay as they are.
run() {
  mkdir -p "build/fuzz/corpus/$1"
  if "build/fuzz/tests/fuzz/fuzz_$1" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=32768 \
    -artifact_prefix="build/fuzz/$1-" "build/fuzz/corpus/$1" "build/fuzz/seeds/$1" >"build/fuzz/$1.log" 2>&1; then
    echo "fuzz_$1: clean, $(grep -o 'Done [0-9]* runs in [0-9]* second' "build/fuzz/$1.log")s"
  else
    echo "fuzz_$1: FAILED"
    tail -40 "build/fuzz/$1.log"
    touch build/fuzz/failed
  fi
}

rm -f build/fuzz/failed
started=0
for target in $targets; do
  run "$target" &
  started=$((started + 1))
  [ $((started % 2)) -ne 0 ] || wait
done
wait
[ ! -e build/fuzz/failed ]
