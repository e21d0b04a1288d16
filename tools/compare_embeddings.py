#!/usr/bin/env python3
"""Compares lowkey's embeddings with those of Hugging Face transformers, pooled and normalised as sentence-transformers does.

  compare_embeddings.py --binary build/release/apps/cli/lowkey MODEL_FOLDER     50 texts, all at once and one by one

The texts are pieces of models/book.txt of 1 to 400 words, so the longest are cut, and some lines in other scripts.
Needs `pip install torch transformers`. Exit code 1 when a number differs by more than 1e-4.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import torch
from transformers import AutoModel, AutoTokenizer

OTHERS = ["", "Grüße aus München!", "今天天气很好。", "Привет, мир", "こんにちは世界", "안녕하세요", "🙂 emoji ✓", "naïve café [MASK]"]


def make_texts(count):
    words = (pathlib.Path(__file__).parent.parent / "models/book.txt").read_text(encoding="utf-8").split()
    lengths = [round(400 ** (i / (count - len(OTHERS) - 1))) for i in range(count - len(OTHERS))]
    starts = [97 * i % (len(words) - 400) for i in range(len(lengths))]
    return OTHERS + [" ".join(words[s:s + n]) for s, n in zip(starts, lengths)]


def rules(folder):
    """Pooling, normalisation and the most tokens of a text, from the files beside the model."""
    read = lambda name: json.loads((folder / name).read_text()) if (folder / name).exists() else {}
    modules = [m["type"].split(".")[-1] for m in read("modules.json") or []]
    cls = read("1_Pooling/config.json").get("pooling_mode_cls_token", False)
    return cls, "Normalize" in modules, read("sentence_bert_config.json").get("max_seq_length")


def embed(folder, texts):
    cls, normalise, most = rules(folder)
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    rows, counts = [], []
    for text in texts:
        inputs = tokenizer(text, truncation=True, padding=False, max_length=most or model.config.max_position_embeddings,
                           return_tensors="pt")
        with torch.no_grad():
            hidden = model(**inputs).last_hidden_state[0]
        row = hidden[0] if cls else hidden.mean(0)
        rows.append(torch.nn.functional.normalize(row, dim=0) if normalise else row)
        counts.append(inputs["input_ids"].shape[1])
    return torch.stack(rows), counts


def run(args, *options):
    command = [args.binary, "run", str(args.model), "--json", "--threads", str(args.threads), *options]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr}")
    texts = json.loads(done.stdout)["texts"]
    return torch.tensor([t["embedding"] for t in texts]), [t["tokens"] for t in texts]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--kv-type", help="of keys and values; f32 when not given")
    args = parser.parse_args()
    texts, extra = make_texts(args.count), ["--kv-type", args.kv_type] if args.kv_type else []
    want, counts = embed(args.model, texts)
    good = True
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
        file.write("".join(text + "\n" for text in texts))
        file.flush()
        batched = run(args, "-f", file.name, *extra)
    single = [run(args, "-p", text, *extra) for text in texts if text]
    for name, rows, read, expected, tokens in (
            ("all at once", *batched, want, counts),
            ("one by one", torch.cat([row for row, _ in single]), [t for _, n in single for t in n],
             want[[bool(text) for text in texts]], [n for n, text in zip(counts, texts) if text])):
        error = (rows - expected).abs().max().item()
        cosine = torch.nn.functional.cosine_similarity(rows, expected).min().item()
        print(f"{name}: {len(rows)} texts of {min(read)} to {max(read)} tokens, largest difference {error:.2e}, "
              f"least cosine {cosine:.8f}, tokens {'equal' if read == tokens else 'DIFFERENT'}")
        good = good and error <= 1e-4 and read == tokens
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
