# One command each: every target first installs what is missing (Debian packages), then builds what it
# needs in build/release, then does its job. `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help packages configure build demo test test-python bench sanitize fuzz check format clean

BUILD := build/release
FUZZ_SECONDS ?= 60

help:  ## this list
	@echo "lowkey: LLM inference that reads only the keys that matter. Say"
	@sed -n 's/^\([a-z-]*\):.*  ## \(.*\)/  make \1|\2/p' Makefile | awk -F"|" '{printf "%-16s %s\n", $$1, $$2}'

packages:
	@tools/install_packages.sh build

configure: packages
	@cmake --preset release --log-level=WARNING

build: configure  ## the library, the command line, the demo and the tests
	cmake --build --preset release

demo: configure  ## hide two codes in a book of 16,000 tokens and ask for them
	cmake --build --preset release --target lowkey_demo
	@$(BUILD)/apps/demo/lowkey_demo --model models/demo-12m.q8_0.gguf --book models/book.txt

test: build  ## every test, then again without AMX, without AVX-512, without AVX2
	@tools/test.sh $(BUILD)

test-python: configure  ## the tests of python/, in a virtual environment with PyTorch (PYTHON=... names another)
	@tools/install_packages.sh python
	cmake --build --preset release --target lowkey print_logits
	@tools/test_python.sh $(BUILD)

bench: build  ## timings on this machine, written to bench/results
	@tools/install_packages.sh bench
	@bench/run.sh $(BUILD)

sanitize:  ## the tests that parse files from strangers, under ASan and UBSan
	@tools/install_packages.sh build fuzz
	@tools/sanitize.sh

fuzz:  ## every parser under libFuzzer for FUZZ_SECONDS (60) each
	@tools/install_packages.sh build fuzz
	@tools/fuzz.sh $(FUZZ_SECONDS)

check:  ## floors, method names, paths in the docs, formatting; reports long files and functions
	@tools/install_packages.sh check
	@tools/check.sh

format:  ## lay out every C++ file with clang-format
	@tools/install_packages.sh check
	@git ls-files '*.h' '*.cc' | xargs clang-format-19 -i

clean:  ## remove every build
	rm -rf build
