#!/usr/bin/env python3
"""One run of `lowkey eval` with everything in it, as a row a method: bench/results/eval-CONTEXT.json, shown in docs/lab.md.

    bench/one_run.py MODEL --text heldout.txt --context 8192 --threads 2
    bench/one_run.py MODEL --text heldout.txt --json eval.json --seconds 306     a run that was made before
"""
import argparse
import datetime
import json
import pathlib
import subprocess
import tempfile
import time

from record import ROOT, commit, machine

METHODS = ["loki:k=1/16", "loki:index=pq:128,k=1/16", "topk:k=1/16", "quest:k=1/8", "sparq:r=16,k=1/8", "streaming:recent=1024"]


def rows(result):
    of = {task: {r["attention"]: r for r in result[task]["results"]} for task in ("agreement", "needle")}
    for r in result["results"]:
        agreement, needle = of["agreement"][r["attention"]], of["needle"][r["attention"]]
        rise, seen = r["increase_percent"], agreement["observed"]
        yield {"method": r["attention"], "perplexity": r["perplexity"], "percent": rise["mean"], "low": rise["low"],
               "high": rise["high"], "kl": agreement["kl"]["mean"], "same_top": agreement["same_top"],
               "recall": seen["recall"], "mass": seen["mass"], "tokens_read": seen["tokens_read"],
               "index_bytes": seen["index_bytes_per_token"], "found": needle["found"], "trials": needle["trials"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--text", required=True, type=pathlib.Path)
    parser.add_argument("--context", type=int, default=8192)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--lowkey", default=ROOT / "build/release/apps/cli/lowkey")
    parser.add_argument("--json", type=pathlib.Path, help="what the run wrote, instead of a run")
    parser.add_argument("--seconds", type=float, help="that it took")
    parser.add_argument("--commit", help="of the program that made --json")
    args = parser.parse_args()
    options = ["--context", str(args.context), "--task", "perplexity,needle,agreement,rank", "-t", str(args.threads)]
    for method in METHODS:
        options += ["--attention", method]
    if args.json:
        result, seconds = json.loads(args.json.read_text()), args.seconds
    else:
        with tempfile.TemporaryDirectory() as folder:
            file, start = pathlib.Path(folder) / "eval.json", time.monotonic()
            subprocess.run([args.lowkey, "eval", args.model, "--text", args.text, *options, "--json-file", file], check=True)
            result, seconds = json.loads(file.read_text()), time.monotonic() - start
    about = {"command": f"lowkey eval {args.model.name} --text {args.text.name} {' '.join(options)}",
             "commit": args.commit or commit(), "date": datetime.date.today().isoformat(), "machine": machine(),
             "seconds": seconds}
    out = ROOT / f"bench/results/eval-{args.context}.json"
    out.write_text(json.dumps({**about, "results": list(rows(result))}, indent=1) + "\n")


if __name__ == "__main__":
    main()
