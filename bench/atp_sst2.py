"""SST-2 with all-MiniLM-L6-v2, fine-tuned with dense attention and with ATP: accuracy on test.tsv, over seeds.

Usage: atp_sst2.py MODEL SST2_FOLDER [--work FOLDER] [--results FILE] [--at-once N] [--minutes M] [--seeds 1,2,3]
Resumable: rows of the results file are not measured again. ATP's r is a part of the text's tokens.
"""
import argparse
import json
import pathlib
import statistics

from adapt_jobs import ROOT, Results, command, run_all

SETTINGS = ["dense"] + [f"atp:form=softmax,r=1/{n}" for n in (2, 4, 8)] + ["atp:form=linear"]

# What else could be the reason for what softmax loses.
FURTHER = ["atp:form=softmax,r=all", "atp:form=softmax,r=1/4,sink=1", "atp:form=softmax,r=1/4,linear=off"]


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("model")
    options.add_argument("data", type=pathlib.Path)
    options.add_argument("--work", type=pathlib.Path, default=ROOT / "build/atp_sst2")
    options.add_argument("--results", default=ROOT / "bench/results/atp_sst2.json")
    options.add_argument("--at-once", type=int, default=1)
    options.add_argument("--minutes", type=float, default=600)
    options.add_argument("--seeds", default="1,2,3")
    options.add_argument("--further", action="store_true", help="three more settings of softmax in place of all")
    options.add_argument("--batch", type=int, default=128)
    options.add_argument("--rate", type=float, default=1e-4)
    options.add_argument("--steps", type=int, help="instead of 3 epochs")
    options.add_argument("--lora", type=int, default=0, help="0: all weights are trained")
    o = options.parse_args()
    facts = {"command": "bench/atp_sst2.py MODEL SST2_FOLDER", "model": pathlib.Path(o.model).name, "batch": o.batch,
             "rate": o.rate, "lora": o.lora, "train": "train.tsv", "test": "test.tsv, GLUE's dev"}
    results = Results(o.results, facts, summary)
    jobs = []
    for seed in map(int, o.seeds.split(",")):
        for attention in FURTHER if o.further else SETTINGS:
            key = {"attention": attention, "seed": seed}
            if results.has(key):
                continue
            out = o.work / f"{attention.replace(':', '-').replace('/', '_').replace(',', '-')}-{seed}"
            words = ["--sentences", o.data / "train.tsv", "--test", o.data / "test.tsv", "--attention", attention,
                     "--seed", seed, "--batch", o.batch, "--rate", o.rate, "--lora", o.lora, "--resume", "-o", out]
            if o.lora:
                words.append("--adapter")
            if o.steps:
                words += ["--steps", o.steps]

            def done(output, key=key):
                found = json.loads(output)
                results.add({**key, "accuracy": found["accuracy test"], "steps": found["steps"],
                             "seconds": found["seconds"]})

            jobs.append((f"{attention} seed {seed}", command("train", o.model, *words), done))
    run_all(jobs, o.at_once, o.minutes)
    for row in results.all.get("results", []):
        print(f"{row['attention']:28} {row['mean']:.1f} %  ({row['seeds']})")


def summary(runs):
    """A row for each attention, in percent: the mean of its seeds, each of them, and what is lost to dense."""
    means, found = {}, []
    for attention in SETTINGS + FURTHER:
        values = [100 * run["accuracy"] for run in sorted(runs, key=lambda run: run["seed"])
                  if run["attention"] == attention]
        if not values:
            continue
        means[attention] = statistics.mean(values)
        row = {"attention": attention, "mean": means[attention], "seeds": ", ".join(f"{v:.1f}" for v in values)}
        if len(values) > 1:
            row["deviation"] = statistics.stdev(values)
        if "dense" in means:
            row["less"] = means["dense"] - means[attention]
        found.append(row)
    return found


if __name__ == "__main__":
    main()
