#!/usr/bin/env python3
"""How low-rank the inputs of layers are, by model, text and length: runs tests/tools/input_spectra and keeps its table.

  spectra_study.py --program build/release/tests/input_spectra --model ref-41m=PATH --text de=de.txt --lengths 128 512 \\
      --json bench/results/input-spectra.json

Rows of models and texts that the file has already are kept, so a study may be made piece by piece. `results` has the
means of all layers, `layers` the same numbers of each layer, to be plotted.
"""
import argparse
import datetime
import json
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "bench"))
from record import commit, machine

NUMBERS = ["rank_90", "rank_95", "rank_99", "entropy", "centred_90", "centred_95", "centred_99", "centred_entropy"]


def named(word):
    name, _, path = word.partition("=")
    return name, path


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True)
    parser.add_argument("--model", action="append", type=named, required=True, help="NAME=PATH")
    parser.add_argument("--text", action="append", type=named, required=True, help="NAME=PATH")
    parser.add_argument("--windows", default="1")
    parser.add_argument("--lengths", nargs="+", default=[])
    parser.add_argument("--json", type=pathlib.Path, required=True)
    args = parser.parse_args()
    kept = json.loads(args.json.read_text()) if args.json.exists() else {"results": [], "layers": []}
    for model, model_path in args.model:
        for text, text_path in args.text:
            done = subprocess.run([args.program, model_path, text_path, args.windows, *args.lengths], check=True,
                                  stdout=subprocess.PIPE, text=True)
            for part in ("results", "layers"):
                kept[part] = [row for row in kept[part] if (row["model"], row["text"]) != (model, text)]
            for line in done.stdout.splitlines()[1:]:
                tokens, layer, *numbers = line.split("\t")
                row = {"model": model, "text": text, "windows": int(args.windows), "tokens": int(tokens),
                       **dict(zip(NUMBERS, map(float, numbers)))}
                kept["results" if layer == "all" else "layers"].append(row if layer == "all" else {**row, "layer": int(layer)})
            print(f"{model}, {text}: {len(done.stdout.splitlines()) - 1} rows", flush=True)
    for part in ("results", "layers"):
        kept[part].sort(key=lambda row: (row["model"], row["text"], row["tokens"], row.get("layer", 0)))
    result = {"command": "tools/spectra_study.py", "commit": commit(), "date": datetime.date.today().isoformat(),
              "machine": machine(), **{k: kept[k] for k in ("results", "layers")}}
    args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
