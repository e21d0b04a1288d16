#!/usr/bin/env python3
"""What the forms of atp that need no training cost in quality: KL and perplexity against dense attention, and codes found.

A prompt is shortened once, when it has been read densely ("once"), or as it is read, from token 1,024 on ("stream").

    bench/atp_quality.py MODEL --text heldout.txt --calibration MODEL.calibration.safetensors --folder OUT [--only once-8k]
    bench/atp_quality.py --collect --folder OUT             bench/results/atp-quality.json and atp-needle.json from OUT

A job ended early goes on where it was when it is started again.
"""
import argparse
import datetime
import json
import math
import pathlib
import statistics
import subprocess
import sys
from fractions import Fraction

from agreement import row
from record import ROOT, commit

LOKI = "loki:index=pq:128,k=1/16,min=1"
FEWER = ["atp:r=11/16,bits=4", "atp:r=1/2,bits=4", "atp:r=7/16,bits=8"]
MOST = 256  # recent tokens, exact, where a prompt is shortened once


def once(spec, context, scored=512):
    """The setting by which all but the last MOST tokens before the scored ones are shortened together."""
    first = context - scored
    chunk = "" if "centroids" in spec else f"chunk={first - MOST - 4},"
    return f"{spec},recent={MOST},{chunk}min={first}"


def jobs():
    """(name, [task and its options], [spec])"""
    factors = [f"atp:r={r}" for r in ("1/2", "1/4", "1/8")]
    centroids = ["atp:form=centroids,r=1/4,within=mean", "atp:form=centroids,r=1/8"]
    for context, windows in (8192, 4), (16384, 3):
        agreement = ["agreement", "--context", context, "--windows", windows]
        size = f"{context // 1024}k"
        yield f"once-{size}", agreement, [once(spec, context) for spec in factors]
        yield f"loki-once-{size}", agreement, [f"{LOKI}+{once(factors[1], context)}"]
        many = ["agreement", "--context", context, "--windows", 196608 // context]
        yield f"loki-many-{size}", many, [LOKI, f"{LOKI}+{once(FEWER[0], context)}", once(FEWER[0], context)]
        yield f"bits-once-{size}", agreement, [once(spec, context) for spec in FEWER]
        for spec in FEWER[:2]:
            yield f"bits-stream-{size}{'-half' if spec != FEWER[0] else ''}", agreement, [spec]
        if context > 8192:
            continue
        yield f"centroids-once-{size}", agreement, [once(spec, context) for spec in centroids]
        yield f"stream-{size}", agreement, factors
        yield f"centroids-stream-{size}", agreement, centroids
        yield f"energy-{size}", agreement, [once(f"{spec},basis=energy", context) for spec in factors[:2]]
        yield f"loki-stream-{size}", agreement, [f"{LOKI}+{FEWER[0]}"]
        needle = ["needle", "--context", context, "--documents", 6]
        whole = [once(spec, context, scored=12) for spec in factors]
        yield f"needle-once-{size}", needle, [LOKI, *whole[:2]]
        yield f"needle-bits-{size}", needle, [once(spec, context, scored=12) for spec in FEWER[:2]]
        yield f"needle-loki-{size}", needle, [f"{LOKI}+{once(spec, context, scored=12)}" for spec in (factors[1], FEWER[0])]
        yield f"needle-centroids-{size}", needle, [once(spec, context, scored=12) for spec in centroids]


def bytes_of_old_token(spec, width):
    """Of a token and layer: R numbers of `width` in 16 bits or fewer, or its part of a cluster's rows; and the index's
    codes."""
    share, index, bits = Fraction(1), 0, 16
    for part in spec.split("+"):
        if part.startswith("loki"):
            index = 2 * 128 // 8
        r = [word for word in part.split(":", 1)[-1].split(",") if word.startswith("r=")]
        if r:
            bits = 8 if "bits=8" in part else 4 if "bits=4" in part else 16
            share = Fraction(r[0][2:])  # a cluster with its direction takes two rows, of half as many clusters
    if bits < 16:  # blocks of 32: 34 bytes of 8 bits each, 18 of 4 behind the first quarter
        blocks = math.ceil(share * width / 32)
        wide = blocks if bits == 8 else math.ceil(blocks / 4)
        return 34.0 * wide + 18.0 * (blocks - wide) + index
    return float(share * width * 2) * (2 if "centroids" in spec and "within" not in spec else 1) + index


def part_of(journal):
    """What a job that was ended has of each method: the windows that all of them have read."""
    windows = {}
    for line in journal.read_text().splitlines():
        if '"result"' in line:
            unit = json.loads(line)
            windows.setdefault(unit["attention"], []).append(unit["result"])
    done = min((len(found) for found in windows.values()), default=0)
    for attention, found in windows.items():
        if done == 0 or "kl" not in found[0]:
            return
        kl = [window["kl"] for window in found[:done]]
        nll = [window["nll"] for window in found[:done]]
        dense = statistics.mean(window["dense_nll"] for window in found[:done])
        yield {"attention": attention, "windows": done, "dense_perplexity": math.exp(dense), "kl": statistics.mean(kl),
               "kl_error": statistics.stdev(kl) / math.sqrt(done) if done > 1 else None,
               "perplexity": math.exp(statistics.mean(nll)),
               "perplexity_percent": 100 * math.expm1(statistics.mean(nll) - dense)}


def collect(folder, width):
    """Of the jobs that the folder has; rows of others stay as they are."""
    about = {"commit": commit(), "date": datetime.date.today().isoformat(), "command": "bench/atp_quality.py"}
    agreement, needle, machine = [], [], None
    before = [row for name in ("atp-quality", "atp-needle")
              for row in json.loads((ROOT / f"bench/results/{name}.json").read_text())["results"]]
    for name, task_words, _ in jobs():
        file = folder / f"{name}.json"
        journal = file.with_suffix(".journal")
        if not file.exists() and not journal.exists():
            for kept in before:
                if kept["job"] == name:
                    (needle if "trials" in kept else agreement).append(kept)
            continue
        if not file.exists():
            context = task_words[task_words.index("--context") + 1]
            for part in part_of(journal):
                if part["attention"] != "dense":
                    agreement.append({"job": name, "context": context, "bytes": bytes_of_old_token(part["attention"], width), **part})
            continue
        found = json.loads(file.read_text())
        machine = found["machine"]
        for task, rows in ("agreement", agreement), ("needle", needle):
            for result in found.get(task, {}).get("results", []):
                common = {"job": name, "context": found[task]["context"], "attention": result["attention"],
                          "bytes": bytes_of_old_token(result["attention"], width)}
                if task == "agreement" and result["windows"] and result["attention"] != "dense":
                    rows.append({**common, "windows": len(result["windows"]), "dense_perplexity": result["dense_perplexity"],
                                 **row(result)})
                if task == "needle" and result["trials"] > 0:
                    rows.append({**common, **{key: result[key] for key in ("found", "trials", "nll")}})
    for name, rows in ("atp-quality", agreement), ("atp-needle", needle):
        result = {**about, "machine": machine, "results": rows}
        (ROOT / f"bench/results/{name}.json").write_text(json.dumps(result, indent=1) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?")
    parser.add_argument("--text")
    parser.add_argument("--calibration")
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("--only", nargs="*", help="names of jobs")
    parser.add_argument("--collect", action="store_true", help="run nothing")
    parser.add_argument("--width", type=int, default=512, help="2 KH D of the model")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--lowkey", default=ROOT / "build/release/apps/cli/lowkey")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    for name, task, specs in jobs() if not args.collect else []:
        if args.only and name not in args.only:
            continue
        command = [args.lowkey, "eval", args.model, "--text", args.text, "--task", *task, "-t", args.threads, "--json-file",
                   args.folder / f"{name}.json", "--resume", args.folder / f"{name}.journal"]
        command += ["--calibration", args.calibration] if any("loki" in spec for spec in specs) else []
        for spec in specs:
            command += ["--attention", spec]
        command = [str(word) for word in command]
        print("+", *command, file=sys.stderr, flush=True)
        subprocess.run(command, check=True)
    collect(args.folder, args.width)


if __name__ == "__main__":
    main()
