#!/usr/bin/env python3
"""What an attention method does to the embeddings of a sentence encoder, without training: the cosine to the embedding
by dense attention, and how well the cosine of two sentences tells paraphrases from others.

  paraphrase_study.py MODEL_FOLDER PAIRS.tsv --binary build/release/apps/cli/lowkey \\
      --attention atp:form=factor,r=1/2 --attention atp:form=linear --json OUT

PAIRS.tsv is of the Microsoft Research Paraphrase Corpus: a heading, then lines of label (1: a paraphrase), two ids and
two sentences, separated by tabs. Spearman's correlation of labels and cosines, ties having the mean of their ranks.
Rows of other methods that OUT has already, of the same model and as many pairs, are kept, so a study may be made piece by
piece.
"""
import argparse
import datetime
import json
import math
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "bench"))
from record import commit, machine


def read_pairs(path):
    lines = path.read_text(encoding="utf-8-sig").splitlines()[1:]
    fields = [line.split("\t") for line in lines if line]
    return [int(f[0]) for f in fields], [f[3] for f in fields], [f[4] for f in fields]


PIECE = 500  # texts


def embed(args, method, texts):
    """Of all texts, a piece at a time; pieces in --keep are not made again."""
    vectors, tokens, spec = [], [], method
    for begin in range(0, len(texts), PIECE):
        kept = args.keep / f"{method.replace('/', '_')}-{begin}.json" if args.keep else None
        piece = texts[begin:begin + PIECE]
        if kept and kept.exists():
            found = json.loads(kept.read_text())
        else:
            found = embed_piece(args, method, piece)
        if kept and not kept.exists():
            kept.write_text(json.dumps(found))
        if len(found[0]) != len(piece):
            sys.exit(f"{kept}: {len(found[0])} texts, {len(piece)} are asked for")
        vectors += found[0]
        tokens += found[1]
        spec = found[2]
    return vectors, tokens, spec


def embed_piece(args, method, texts):
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
        file.write("\n".join(texts) + "\n")
        file.flush()
        command = [args.binary, "run", str(args.model), "-f", file.name, "--json", "--threads", str(args.threads),
                   "--attention", method]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr}")
    report = json.loads(done.stdout)
    return [t["embedding"] for t in report["texts"]], [t["tokens"] for t in report["texts"]], report["attention"]


def cosine(a, b):
    dot = lambda x, y: math.fsum(i * j for i, j in zip(x, y))
    return dot(a, b) / math.sqrt(dot(a, a) * dot(b, b))


def ranks(values):
    order = sorted(range(len(values)), key=values.__getitem__)
    result, at = [0.0] * len(values), 0
    while at < len(order):
        end = at
        while end < len(order) and values[order[end]] == values[order[at]]:
            end += 1
        for i in order[at:end]:
            result[i] = (at + end - 1) / 2
        at = end
    return result


def spearman(a, b):
    a, b = ranks(a), ranks(b)
    mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
    return cosine([x - mean_a for x in a], [y - mean_b for y in b])


def write(args, rows, pairs, mean_tokens):
    """The rows so far, with those of other methods that the file has already."""
    about = {"model": args.model.name, "texts": args.pairs.name, "pairs": pairs}
    before = json.loads(args.json.read_text()) if args.json.exists() else {}
    if all(before.get(key) == value for key, value in about.items()):
        done = {row["attention"] for row in rows}
        rows = rows + [row for row in before["results"] if row["attention"] not in done]
    rows = sorted(rows, key=lambda row: (row["attention"] != "dense", row["attention"]))
    command = " ".join(["tools/paraphrase_study.py", args.model.name, args.pairs.name,
                        *(word for row in rows[1:] for word in ("--attention", row["attention"]))])
    result = {"command": command, "commit": commit(), "date": datetime.date.today().isoformat(), "machine": machine(),
              **about, "mean_tokens": mean_tokens, "results": rows}
    args.json.write_text(json.dumps(result, indent=2) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("pairs", type=pathlib.Path)
    parser.add_argument("--binary", default="lowkey")
    parser.add_argument("--attention", action="append", default=[], help="besides dense; may be given several times")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--limit", type=int, default=None, help="only so many pairs")
    parser.add_argument("--keep", type=pathlib.Path, help="a folder for embeddings: a run that was ended goes on with them")
    parser.add_argument("--json", type=pathlib.Path, help="also write the table to this file")
    args = parser.parse_args()
    labels, first, second = (column[:args.limit] for column in read_pairs(args.pairs))
    rows, dense = [], None
    for method in ["dense", *args.attention]:
        vectors, tokens, spec = embed(args, method, first + second)
        dense = dense or vectors
        cosines = sorted(cosine(a, b) for a, b in zip(vectors, dense))
        pairs = [cosine(a, b) for a, b in zip(vectors, vectors[len(first):])]
        rows.append({"attention": spec, "cosine": sum(cosines) / len(cosines), "cosine_5_percent": cosines[len(cosines) // 20],
                     "spearman": spearman(labels, pairs)})
        print(f"{spec:44} cosine to dense {rows[-1]['cosine']:.4f} (worst twentieth below {rows[-1]['cosine_5_percent']:.4f})"
              f"  Spearman {rows[-1]['spearman']:.4f}", flush=True)
        if args.json:
            write(args, rows, len(labels), sum(tokens) / len(tokens))



if __name__ == "__main__":
    main()
