#!/usr/bin/env python3
"""What PyTorch and the engine make of an adapted folder: of a real model, where python/tests have tiny ones.

An encoder: scores of every sentence of a TSV file, and the accuracy of both. A Llama-family model: logits of the first
tokens of a text. Prints one JSON object.

    PYTHONPATH=python tools/compare_adapted.py OUT --sentences test.tsv
    PYTHONPATH=python tools/compare_adapted.py ADAPTED --text unseen.txt --tokens 1500
"""
import argparse
import json
import pathlib
import subprocess
import tempfile

import numpy as np
import torch
from lowkey.adapt import data, folder, spec

ROOT = pathlib.Path(__file__).resolve().parent.parent


def sentences(args, model, how, tokenizer):
    labels = sorted(model.config["label2id"], key=model.config["label2id"].get)
    texts, words = data.read_tsv(args.sentences)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as lines:
        lines.write("\n".join(text[0] for text in texts))
        lines.flush()
        command = [args.build / "apps/cli/lowkey", "run", args.model, "-f", lines.name, "--json"]
        found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)["texts"]
    differences, right = [], {"engine": 0, "pytorch": 0}
    for text, word, row in zip(texts, words, found, strict=True):
        ids = tokenizer.encode(text[0]).ids
        scores = model.scores(model(torch.tensor([ids]), how))[0]
        differences.append((scores - torch.tensor(row["scores"])).abs().max().item())
        right["pytorch"] += labels[scores.argmax()] == word
        right["engine"] += row["label"] == word
    return differences, {f"accuracy_{who}": count / len(texts) for who, count in right.items()}


def logits(args, model, how, tokenizer):
    ids = data.text_ids(args.text, tokenizer, model.config)[: args.tokens]
    command = [args.build / "tests/print_logits", args.model, model.config[folder.ATTENTION_KEY]]
    out = subprocess.run(command, input=" ".join(map(str, ids)).encode(), check=True, stdout=subprocess.PIPE).stdout
    expected = torch.from_numpy(np.frombuffer(out, np.float32).copy()).view(len(ids), -1)
    found = model.logits(model(torch.from_numpy(ids.astype("int64"))[None], how))[0]
    return (found - expected).abs().amax(1).tolist(), {"range": (expected.max() - expected.min()).item()}


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="the folder, with lowkey_attention in its config.json")
    parser.add_argument("--sentences")
    parser.add_argument("--text")
    parser.add_argument("--tokens", type=int, default=1500)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release")
    args = parser.parse_args()
    model = folder.load(args.model)
    how = spec.parse(model.config[folder.ATTENTION_KEY], model.causal)
    differences, more = (logits if model.causal else sentences)(args, model, how, data.open_tokenizer(args.model))
    differences.sort()
    parts = {"median": 0.5, "at_99_percent": 0.99, "largest": 1.0}
    row = {"attention": model.config[folder.ATTENTION_KEY], "rows": len(differences), **more,
           **{name: differences[min(int(part * len(differences)), len(differences) - 1)]
              for name, part in parts.items()}}
    print(json.dumps({"results": [row]}))


if __name__ == "__main__":
    main()
