#!/usr/bin/env python3
"""Studies of what ranking depends on: which text a calibration is made from and how much of it, the side of RoPE, the
basis, the bits of the index, attention sinks, one choice for a group or one for each head, and h2o below loki.

Each study calibrates as often as it must, measures with `lowkey eval --task agreement`, and writes its rows to
bench/results/study-NAME.json; docs/results/studies.md shows them and says what follows. All studies of a model of 41 M
parameters take hours on two cores: --only shares them among machines.

    bench/studies.py MODEL --train books-train.txt --texts books=heldout.txt code=code.txt de=de.txt --only size basis
"""
import argparse
import datetime
import json
import pathlib
import subprocess
import sys
import tempfile

from agreement import measure, row
from record import ROOT, commit, machine

ALWAYS = "sink=4,recent=64"
K = "k=1/16"


def loki(index, *more):
    return ",".join([f"loki:index={index}", K, ALWAYS, "min=0", *more])


TOPK = f"topk:{K},{ALWAYS}"
PAPER = f"loki:form=paper,d=32,{K},{ALWAYS}"
INDEXES = [loki(f"pq:{bits}") for bits in (64, 128, 256)]


class Bench:
    """The program with one model: calibrations and measurements, each made once."""

    def __init__(self, args, folder):
        self.args, self.folder, self.made = args, pathlib.Path(folder), {}

    def run(self, *command):
        print("+ lowkey", *(str(c) for c in command), file=sys.stderr, flush=True)
        subprocess.run([str(self.args.lowkey), *(str(c) for c in command)], check=True)

    def calibration(self, text, tokens, *more):
        key = (text, tokens, *more)
        if key not in self.made:
            out = self.folder / f"{len(self.made)}.safetensors"
            self.run("calibrate", self.args.model, "--text", text, "--tokens", tokens,
                     "--context", min(tokens, self.args.context), "--no-statistics", "-o", out, "-t", self.args.threads, *more)
            self.made[key] = out
        return self.made[key]

    def agreement(self, calibration, text, specs):
        """{spec: its result}"""
        return measure(self.args.lowkey, self.args.model, specs, text=text, calibration=calibration,
                       context=self.args.context, windows=self.args.windows, threads=self.args.threads)


def rows(found, **about):
    """One row a method; all of them are compared with exact top-k at the same k."""
    for spec, result in found.items():
        if spec != "dense":
            yield {**about, "method": spec.replace(f",{ALWAYS}", "").replace(",min=0", ""),
                   **row(result, found.get(TOPK))}


def main_text(bench):
    return next(iter(bench.args.texts.values()))


def study_text(bench):
    """A calibration from each text, tried on every text."""
    sources = {"train": bench.args.train, **bench.args.texts}
    for name in bench.args.sources or sources:
        source = sources[name]
        made = bench.calibration(source, bench.args.tokens)
        for other, text in bench.args.texts.items():
            if name != other:  # not on what it was made from
                yield from rows(bench.agreement(made, text, [TOPK, *INDEXES]), calibrated_on=name, tried_on=other)


def study_size(bench):
    """From a thousand tokens to a million."""
    for tokens in bench.args.sizes:
        made = bench.calibration(bench.args.train, tokens, "--sample", 32768)
        yield from rows(bench.agreement(made, main_text(bench), [TOPK, *INDEXES, loki("bits:128")]), tokens=tokens)


def study_rope(bench):
    """Keys before RoPE or after."""
    made = bench.calibration(bench.args.train, bench.args.tokens)
    specs = [TOPK, *(f"{PAPER},rope={side}" for side in ("post", "pre")),
             *(loki(f"bits:{bits}", "basis=pca", f"rope={side}") for bits in (64, 128, 256) for side in ("post", "pre"))]
    yield from rows(bench.agreement(made, main_text(bench), specs))


def study_basis(bench):
    """Principal components, balanced, weighted part of the way, or of content."""
    made = bench.calibration(bench.args.train, bench.args.tokens)
    specs = [TOPK, *(loki(f"pq:{bits}", f"basis={basis}") for bits in (64, 128, 256)
                     for basis in ("pca", "balanced", "weighted", "content"))]
    yield from rows(bench.agreement(made, main_text(bench), specs))


def study_bits(bench):
    """From 4 bytes a key to 64."""
    made = bench.calibration(bench.args.train, bench.args.tokens, "--codebooks", "32,64,96,128,192,256,384,512")
    specs = [TOPK, *(loki(f"{kind}:{bits}") for bits in (32, 64, 96, 128, 192, 256, 384, 512) for kind in ("pq", "bits"))]
    yield from rows(bench.agreement(made, main_text(bench), specs))


def study_sinks(bench):
    """The first positions of a window, whose keys are unlike all others, counted or not."""
    for skip in bench.args.skips:
        made = bench.calibration(bench.args.train, bench.args.tokens, "--skip-first", skip)
        yield from rows(bench.agreement(made, main_text(bench), [TOPK, *INDEXES, loki("bits:64"), loki("bits:128")]), skipped=skip)


def study_layers(bench):
    """One number of coordinates for all layers in the paper's form, or as many as each needs for a share of the variance."""
    made = bench.calibration(bench.args.train, bench.args.tokens, "--codebooks", "64")
    numbers = ("16", "24", "32", "40", "48", "0.7v", "0.8v", "0.9v")
    yield from rows(bench.agreement(made, main_text(bench), [TOPK, *(f"loki:form=paper,d={d},{K},{ALWAYS}" for d in numbers)]))


def study_group(bench):
    """One choice for the query heads of a KV head, or one each, which reads that many times the tokens."""
    made = bench.calibration(bench.args.train, bench.args.tokens)
    specs = [f"topk:k={k},{ALWAYS}{more}" for k in ("1/4", "1/16", "1/64") for more in ("", ",heads=query")]
    yield from rows(bench.agreement(made, main_text(bench), specs))


def study_h2o(bench):
    """A cache that h2o keeps small, read whole or by loki."""
    made = bench.calibration(bench.args.train, bench.args.tokens)
    caches = [f"h2o:heavy=1/{n},recent=1/{n}" for n in (4, 8, 16)]
    specs = [TOPK, loki("pq:128"), *caches, *(f"{loki('pq:128')}+{cache}" for cache in caches)]
    yield from rows(bench.agreement(made, main_text(bench), specs))


STUDIES = {name.removeprefix("study_"): f for name, f in list(globals().items()) if name.startswith("study_")}


def named(word):
    name, _, path = word.partition("=")
    if not path:
        raise argparse.ArgumentTypeError(f"'{word}', must be NAME=FILE")
    return name, path


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0],
                                     epilog="studies: " + "; ".join(f"{n}: {f.__doc__}" for n, f in STUDIES.items()))
    parser.add_argument("model")
    parser.add_argument("--train", required=True, help="what to calibrate on")
    parser.add_argument("--texts", required=True, nargs="+", type=named, metavar="NAME=FILE",
                        help="what to try it on; all studies but `text` use the first")
    parser.add_argument("--only", nargs="*", choices=STUDIES, default=list(STUDIES))
    parser.add_argument("--sources", nargs="*", help="`text`: names to calibrate on, and `train`; default: all")
    parser.add_argument("--sizes", nargs="*", type=int, default=[1024, 4096, 16_384, 65_536, 262_144, 1_048_576],
                        help="`size`: tokens")
    parser.add_argument("--skips", nargs="*", type=int, default=[0, 4, 16, 64], help="`sinks`: positions left out")
    parser.add_argument("--tokens", type=int, default=131_072, help="of a calibration")
    parser.add_argument("--context", type=int, default=8192)
    parser.add_argument("--windows", type=int, default=4)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--lowkey", default=ROOT / "build/release/apps/cli/lowkey")
    parser.add_argument("-o", "--output", type=pathlib.Path, default=ROOT / "bench/results")
    args = parser.parse_args()
    args.texts = dict(args.texts)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(args, folder)
        for name in args.only:
            about = {"study": name, "question": STUDIES[name].__doc__,
                     "command": f"bench/studies.py {pathlib.Path(args.model).name} --only {name} --tokens {args.tokens} "
                                f"--context {args.context} --windows {args.windows}",
                     "commit": commit(), "date": datetime.date.today().isoformat(), "machine": machine()}
            file, found = args.output / f"study-{name}.json", []
            for one in STUDIES[name](bench):  # each is hours of work in a long study: none is lost with a later one
                found.append(one)
                file.write_text(json.dumps({**about, "results": found}, indent=1) + "\n")
            print(f"wrote {file}", file=sys.stderr)


if __name__ == "__main__":
    main()
