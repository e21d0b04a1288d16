#!/usr/bin/env python3
"""How far each method's predictions are from dense attention's: methods x budgets x indexes, on one text.

For every method: KL to dense, the change in perplexity with its 95 % interval over windows, recall of exact top-k, the
share of attention that the tokens read hold, tokens read and bytes scanned; and the KL as a multiple of exact top-k's
with the same budget. All of them read 4 first and 64 last tokens besides the k that they choose.

    bench/quality.py MODEL --text heldout.txt --calibration MODEL.calibration.safetensors --context 8192 --windows 12
"""
import argparse
import datetime
import json
import pathlib
import sys
from fractions import Fraction

from agreement import measure, row
from record import ROOT, commit, machine

BUDGETS = ["1/4", "1/8", "1/16", "1/64"]
FEW = ["1/16", "1/64"]
ALWAYS = "sink=4,recent=64"


def methods(context, indexes):
    """(spec, what it is compared with by k)"""
    for k in BUDGETS:
        yield f"topk:k={k},{ALWAYS}", k
    for index in indexes:
        for k in BUDGETS if index in ("pq:64", "pq:128", "pq:256", "bits:128") else FEW:
            yield f"loki:index={index},k={k},{ALWAYS},min=0", k
    for rope in "post", "pre":
        for k in BUDGETS:
            yield f"loki:form=paper,d=32,rope={rope},k={k},{ALWAYS}", k
    for name in "sparq:r=32", "quest:page=16":
        for k in BUDGETS:
            yield f"{name},k={k},{ALWAYS}", k
    for k in BUDGETS:
        yield f"streaming:sink=4,recent={int(context * Fraction(k)) + 64}", k
    for k in BUDGETS:
        yield f"h2o:heavy={Fraction(k) / 2},recent={Fraction(k) / 2}", k


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--text", required=True)
    parser.add_argument("--calibration", required=True)
    parser.add_argument("--context", type=int, default=8192)
    parser.add_argument("--windows", type=int, default=12)
    parser.add_argument("--indexes", nargs="*",
                        default=["pq:64", "pq:128", "pq:256", "bits:64", "bits:128", "sign", "int8,d=32", "int4,d=64"])
    parser.add_argument("--only", nargs="*", help="methods whose spec holds one of these words (topk is always there)")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--lowkey", default=ROOT / "build/release/apps/cli/lowkey")
    parser.add_argument("-o", "--output", type=pathlib.Path, help="default: bench/results/quality-CONTEXT.json")
    args = parser.parse_args()
    chosen = [(spec, k) for spec, k in methods(args.context, args.indexes)
              if not args.only or spec.startswith("topk") or any(word in spec for word in args.only)]
    found = measure(args.lowkey, args.model, [spec for spec, _ in chosen], text=args.text, calibration=args.calibration,
                    context=args.context, windows=args.windows, threads=args.threads)
    name = pathlib.Path
    about = {"command": f"bench/quality.py {name(args.model).name} --text {name(args.text).name} --context "
                        f"{args.context} --windows {args.windows}",
             "commit": commit(), "date": datetime.date.today().isoformat(), "machine": machine(),
             "dense_perplexity": next(iter(found.values()))["dense_perplexity"]}
    rows = [{"method": spec, "k": k, **row(found[spec], found[f"topk:k={k},{ALWAYS}"])} for spec, k in chosen
            if spec in found]
    output = args.output or ROOT / f"bench/results/quality-{args.context}.json"
    output.write_text(json.dumps({**about, "results": rows}, indent=1) + "\n")
    print(f"wrote {output}", file=sys.stderr)


if __name__ == "__main__":
    main()
