#!/usr/bin/env python3
"""Does llama.cpp compute, from what `lowkey convert` writes of each tiny model, what Hugging Face transformers does?

Each tests/data/tiny-FAMILY is converted to f32, read by llama-cpp-python, and its logits are compared with the fixture.
A wrong rotation, order of rows or hyperparameter is off by a good part of the range of the logits; llama.cpp's keys and
values in f16 by less than a hundredth of it. It has no windows in Mistral and Phi-3: of those, positions within the first
window are compared. Gemma-3's tiny model has a scale of scores that llama.cpp does not read from files. Exit code 1 when
anything differs.

    pip install numpy safetensors llama-cpp-python
    tools/check_families.py --lowkey build/release/apps/cli/lowkey
"""
import argparse
import ctypes
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import llama_cpp
import numpy as np
from safetensors.numpy import load_file

from check_llama_cpp import Peer

DATA = pathlib.Path(__file__).parent.parent / "tests/data"
FAMILIES = ["llama3", "qwen2", "qwen3", "qwen3_moe", "mistral", "mixtral", "phi3", "gpt_neox", "gpt2", "gemma2"]
NO_WINDOWS = ("mistral", "phi3")
LIMIT = 0.01


def check(args, family, folder):
    path, source = folder / f"{family}.gguf", folder / "model"
    # Of a model called phi3 llama.cpp expects tokens that the tiny one does not have.
    shutil.copytree(DATA / f"tiny-{family}", source, dirs_exist_ok=True)
    subprocess.run([args.lowkey, "convert", source, "-o", path, "--type", "f32"], check=True, capture_output=True)
    fixture = load_file(DATA / f"tiny-{family}.logits.safetensors")
    config = json.loads((DATA / f"tiny-{family}/config.json").read_text())
    count = min(len(fixture["ids"]), 384)
    if family in NO_WINDOWS:
        count = min(count, config["sliding_window"])
    peer = Peer(path, args.threads)
    logits = peer.logits(fixture["ids"][:count].tolist(), 0, True)
    peer.close()
    probes, vocabulary = fixture["probes"].shape[1], logits.shape[1]
    places = (np.arange(count)[:, None] + np.arange(probes) * (vocabulary // probes)) % vocabulary
    error = np.abs(np.take_along_axis(logits, places, 1) - fixture["probes"][:count]).max(1)
    error /= fixture["range"][1] - fixture["range"][0]
    print(f"{family}: {count} positions, largest difference {error.max():.1e} of the range, at {error.argmax()}; "
          f"mean {error.mean():.1e}", flush=True)
    return error.max() < LIMIT


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("families", nargs="*", default=FAMILIES)
    parser.add_argument("--lowkey", default="lowkey")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)
    llama_cpp.llama_log_set(quiet, ctypes.c_void_p(0))
    llama_cpp.llama_backend_init()
    print(f"llama-cpp-python {llama_cpp.__version__}")
    good = []
    with tempfile.TemporaryDirectory() as folder:
        for family in args.families:
            try:
                good.append(check(args, family, pathlib.Path(folder)))
            except (RuntimeError, subprocess.CalledProcessError) as error:
                print(f"{family}: {error} {getattr(error, 'stderr', b'') or ''}")
                good.append(False)
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
