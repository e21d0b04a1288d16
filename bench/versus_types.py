#!/usr/bin/env python3
"""Every quantised type beside llama.cpp: decoding at an empty cache and a prompt of a random model of 1B parameters.

Makes the file of a type in --folder (0.4 to 1.2 GB), runs bench/versus_llama.py on it, once for decoding and once for
the prompt, and joins what it wrote there into bench/results/versus_types.json. What lies in the folder is not made or
measured again, so a run cut short goes on, and --types takes a few at a time.

    pip install numpy gguf llama-cpp-python
    bench/versus_types.py --types q4_k q6_k --cases decode
"""
import argparse
import json
import pathlib
import subprocess
import sys

from record import ROOT

TYPES = "q8_0 q6_k q5_1 q5_k q5_0 q4_1 q4_k q4_0 q3_k q2_k".split()
CASES = {"decode": ["--depth", "0", "--tokens", "16", "--prompt", "0"], "prefill": ["--depth", "", "--prompt", "512"]}


def measure(args, kind, case):
    """The file of a case, made where it is missing."""
    model, file = args.folder / f"1b-{kind}.gguf", args.folder / f"versus-{kind}-{case}.json"
    if file.exists() or kind not in args.types or case not in args.cases:
        return file
    if not model.exists():
        subprocess.run([sys.executable, ROOT / "tools/make_random_model.py", "--type", kind, "-o", model], check=True)
    command = [sys.executable, ROOT / "bench/versus_llama.py", model, "--lowkey", args.lowkey, "--threads", args.threads,
               "--rounds", args.rounds, *CASES[case], "-o", file]
    subprocess.run([str(word) for word in command], check=True)
    return file


def row(kind, case, result):
    found = result["results"][0]
    rate = found["tokens_per_second"]
    return {"type": kind, "bench": case, "lowkey": rate["lowkey"], "peer": rate[found["faster_path"]],
            "ratio": found["ratio"], "rounds": found["rounds"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--types", nargs="*", default=TYPES, choices=TYPES)
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=CASES)
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("/tmp"))
    parser.add_argument("--lowkey", default=ROOT / "build/release/apps/cli/lowkey", help="the program")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    files = {(kind, case): measure(args, kind, case) for case in CASES for kind in TYPES}
    found = {key: json.loads(file.read_text()) for key, file in files.items() if file.exists()}
    found = {key: result for key, result in found.items() if result["results"]}
    if not found:
        raise SystemExit("nothing was measured")
    about = {key: value for key, value in next(iter(found.values())).items() if key not in ("results", "model")}
    rows = [row(*key, result) for key, result in found.items()]
    file = ROOT / "bench/results/versus_types.json"
    file.write_text(json.dumps({"command": "bench/versus_types.py", **about, "results": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
