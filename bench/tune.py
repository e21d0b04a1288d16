#!/usr/bin/env python3
"""Does a setting for each layer pay? Runs `lowkey tune` and keeps what docs/results/tune.md shows: tune.json, every
setting for all layers and every profile with what it reads and loses, and tune-layers.json, what each layer loses alone.

`for_all` is what the cheapest single setting would read that loses as little as a profile does: of the settings measured,
those that no other beats, joined by lines over the logarithms of bytes and KL.

    bench/tune.py MODEL --text heldout.txt --calibration MODEL.calibration.safetensors --windows 9
    bench/tune.py --json tune.json        a run that was made before
"""
import argparse
import datetime
import json
import math
import pathlib
import subprocess
import tempfile

from record import ROOT, commit, machine


def candidates(words):
    """What layers may have, and what all of them may have besides."""
    few = ["streaming:sink=4,recent=256", *(f"loki:index=pq:64,k=1/{n}" for n in (16, 32, 64)),
           *(f"loki:index=pq:128,k=1/{n}" for n in (2, 4, 8, 16, 32)), "sparq:r=16,k=1/16"]
    more = [*(f"loki:index=pq:64,k={k}" for k in ("3/16", "1/8")),
            *(f"loki:index=pq:128,k={k}" for k in ("3/8", "3/16", "5/32", "3/32", "3/64", "1/64")),
            "sparq:r=32,k=1/16", "sparq:r=32,k=1/8"]
    return [word for option, specs in ((words[0], few), (words[1], more)) for spec in specs for word in (option, spec)]


def run(args):
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder)
        command = [args.lowkey, "tune", args.model, "--text", args.text, "--calibration", args.calibration, "-o",
                   out / "tuned.safetensors", "--max-loss", "0.5%", "--context", args.context, "--windows", args.windows,
                   "-t", args.threads, "--json-file", out / "tune.json", *candidates(("--candidate", "--uniform"))]
        subprocess.run([str(word) for word in command], check=True)
        return json.loads((out / "tune.json").read_text())


def frontier(measures):
    """(log KL, log bytes) of the settings that no other beats in both, by KL."""
    best = []
    for m in sorted((m for m in measures if m["kl"] > 0), key=lambda m: (m["kl"], m["bytes"])):
        if not best or m["bytes"] < best[-1]["bytes"]:
            best.append(m)
    return [(math.log(m["kl"]), math.log(m["bytes"])) for m in best]


def bytes_at(points, kl):
    """None beyond the ends."""
    x = math.log(kl)
    for (x0, y0), (x1, y1) in zip(points, points[1:]):
        if x0 <= x <= x1:
            return math.exp(y0 + (y1 - y0) * (x - x0) / (x1 - x0))
    return None


def rows(tuned):
    whole = tuned["uniform"][0]["bytes"]
    points = frontier(tuned["uniform"])

    def row(what, setting, m, **more):
        rise = m["perplexity_increase_percent"]
        return {"what": what, "setting": setting, "mb": m["bytes"], "share": 100 * m["bytes"] / whole, "kl": m["kl"],
                "percent": rise["mean"], "low": rise["low"] or 0.0, "high": rise["high"] or 0.0, **more}

    for setting, m in sorted(zip(tuned["candidates"], tuned["uniform"]), key=lambda pair: -pair[1]["bytes"]):
        taken = " (taken)" if setting == tuned["best_uniform"] else ""
        yield row("every layer", setting + taken, m)
    for i, trial in enumerate(tuned["trials"]):
        same = bytes_at(points, trial["kl"])
        yield row("each layer", f"profile {i + 1}" + (" (taken)" if i == tuned["best_trial"] else ""), trial,
                  **({"for_all": same, "of_all": 100 * trial["bytes"] / same} if same else {}))
    yield row("unseen windows", "the profile", tuned["checked"])
    yield row("unseen windows", tuned["best_uniform"], tuned["uniform_checked"])


def layer_rows(tuned):
    for layer, losses in enumerate(tuned["sensitivity_kl"]):
        by_setting = dict(zip(tuned["candidates"], losses))
        row = {"layer": layer, "chosen": tuned["layers"][layer]}
        for setting, loss in by_setting.items():
            if setting == "streaming:sink=4,recent=256":
                row["stream"] = 1000 * loss
            elif setting.startswith("sparq:"):
                row["sparq16"] = 1000 * loss
            elif setting.startswith("loki:index=pq:"):
                index, k = setting.removeprefix("loki:index=pq:").split(",k=1/")
                row[f"{'k' if index == '128' else 'half'}{k}"] = 1000 * loss
        yield row


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?")
    parser.add_argument("--text")
    parser.add_argument("--calibration")
    parser.add_argument("--context", type=int, default=8192)
    parser.add_argument("--windows", type=int, default=9)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--lowkey", default=ROOT / "build/release/apps/cli/lowkey")
    parser.add_argument("--json", type=pathlib.Path, help="what `lowkey tune --json-file` wrote, instead of a run")
    parser.add_argument("--model-name", help="as the tables call it; default: the file's")
    parser.add_argument("--commit", help="of the program that made --json")
    args = parser.parse_args()
    tuned = json.loads(args.json.read_text()) if args.json else run(args)
    name = args.model_name or pathlib.Path(tuned["model"]).name
    about = {"command": f"bench/tune.py {name} --text {pathlib.Path(tuned['text']).name} --context {tuned['context']} "
                        f"--windows {tuned['windows']}",
             "commit": args.commit or commit(), "date": datetime.date.today().isoformat(),
             "machine": tuned["machine"] if args.json else machine(), "threads": tuned["threads"], "isa": tuned["isa"],
             "seconds": tuned["seconds"], "layers": tuned["layers"]}
    for file, found in (("tune", rows(tuned)), ("tune-layers", layer_rows(tuned))):
        (ROOT / f"bench/results/{file}.json").write_text(json.dumps({**about, "results": list(found)}, indent=1) + "\n")


if __name__ == "__main__":
    main()
