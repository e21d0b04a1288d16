"""Adapts a Llama-family model to ATP and measures it on unseen text: perplexity and hidden codes at two lengths.

Usage: atp_adapt.py MODEL TRAIN_TEXT UNSEEN_TEXT [--only VARIANT,...] [--at-once N] [--minutes M] [--work FOLDER]
Texts may be .npy files of tokens. Each variant is trained for --train-minutes towards the dense model's predictions,
with codes hidden in some windows, and leaves WORK/VARIANT/adapter.safetensors; `python -m lowkey.adapt merge` makes a
model of it. Trained in longer chunks than it is measured with: fewer factorisations a step, and the same form.
"""
import argparse
import json
import pathlib
import statistics

from adapt_jobs import ROOT, Results, command, run_all

VARIANTS = {  # trained with (None: the model as it came), measured with
    "bits-4": (None, "atp:form=factor,r=11/16,bits=4"),
    "as-it-came-4": (None, "atp:form=factor,r=1/4"),
    "factor-4": ("atp:form=factor,r=1/4,chunk=1024", "atp:form=factor,r=1/4"),
    "factor-8": ("atp:form=factor,r=1/8,chunk=1024", "atp:form=factor,r=1/8"),
    "softmax-4": ("atp:form=softmax,r=1/4,chunk=1024", "atp:form=softmax,r=1/4,chunk=1024"),
    "linear": ("atp:form=linear", "atp:form=linear"),
}


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("model")
    options.add_argument("train")
    options.add_argument("unseen")
    options.add_argument("--work", type=pathlib.Path, default=ROOT / "build/atp_adapt")
    options.add_argument("--results", default=ROOT / "bench/results/atp_adapt.json")
    options.add_argument("--only", default=",".join(VARIANTS))
    options.add_argument("--at-once", type=int, default=1)
    options.add_argument("--minutes", type=float, default=600, help="of everything")
    options.add_argument("--train-minutes", type=float, default=6, help="of each variant")
    options.add_argument("--length", type=int, default=8192)
    options.add_argument("--batch", type=int, default=4)
    options.add_argument("--rate", type=float, default=1e-3)
    options.add_argument("--lora", type=int, default=64, help="0: all weights")
    options.add_argument("--codes", type=float, default=0.16, help="share of windows with hidden codes")
    options.add_argument("--lengths", default="8192,16384")
    options.add_argument("--windows", type=int, default=8)
    options.add_argument("--needles", type=int, default=16)
    o = options.parse_args()
    facts = {"command": "bench/atp_adapt.py MODEL TRAIN_TEXT UNSEEN_TEXT", "model": pathlib.Path(o.model).name}
    results = Results(o.results, facts, summary)
    measures = ["--test-lengths", o.lengths, "--windows", o.windows, "--needles", o.needles]
    jobs = []
    for name in ["dense", *o.only.split(",")]:
        trained, measured = VARIANTS.get(name, (None, "dense"))
        key = {"variant": name, "trained": trained, "attention": measured}
        how = {"rate": o.rate, "lora": o.lora} if trained else {}
        if results.has({"variant": name, **how}):
            continue
        if trained is None:
            def read(output, key=key):
                results.add({**key, "windows": o.windows, "documents": o.needles, **json.loads(output)})

            jobs.append((name, command("eval", o.model, "--attention", measured, "--text", o.unseen, *measures), read))
            continue
        words = ["--attention", trained, "--attention-after", measured, "--text", o.train, "--length", o.length,
                 "--batch", o.batch, "--rate", o.rate, "--minutes", o.train_minutes, "--lora", o.lora, "--codes",
                 o.codes, "--adapter", "--test", o.unseen, *measures, "--resume", "-o", o.work / name]

        def done(output, key=key, how=how, out=o.work / name):
            losses = json.loads((out / "adapt.json").read_text())["losses"]
            results.add({**key, "windows": o.windows, "documents": o.needles, "length": o.length, "batch": o.batch,
                         **how, "codes": o.codes, **json.loads(output), "losses": losses})

        jobs.append((name, command("train", o.model, *words), done))
    run_all(jobs, o.at_once, o.minutes)


def summary(runs):
    """With each perplexity, how many percent it is above that of dense attention with the same weights."""
    found = []
    for run in sorted(runs, key=lambda run: ["dense", *VARIANTS].index(run["variant"])):
        row = {key: value for key, value in run.items() if key != "losses"}
        row["learned"] = "" if "lora" not in run else f"rank {run['lora']}" if run["lora"] else "all weights"
        losses = [loss for _, loss in run.get("losses", [])]
        if losses:  # steps differ by their windows
            row["first_losses"], row["last_losses"] = statistics.mean(losses[:3]), statistics.mean(losses[-5:])
        for key in [key for key in run if key.startswith("perplexity@")]:
            length = key.partition("@")[2]
            came = next((r[key] for r in runs if r["variant"] == "dense" and r["windows"] == run["windows"]), None)
            if came:
                row[f"over dense@{length}"] = 100 * (run[key] / came - 1)
            row[f"percent@{length}"] = 100 * (run[key] / run.get(f"dense {key}", run[key]) - 1)
            row[f"found@{length}"] = f"{run[f'needles@{length}'] * run['documents']:.0f} of {run['documents']}"
            row.setdefault(f"dense {key}", run[key])
            words = f"{run.get(f'dense needles@{length}', run[f'needles@{length}']) * run['documents']:.0f}"
            row[f"dense found@{length}"] = f"{words} of {run['documents']}"
        found.append(row)
    return found


if __name__ == "__main__":
    main()
