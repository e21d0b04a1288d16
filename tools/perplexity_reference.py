#!/usr/bin/env python3
"""The perplexity of a text under a Hugging Face model in PyTorch, on the very windows that `lowkey eval` scores.

The token stream: the text split at NUL bytes into documents, each BOS and its tokens, one after another. Windows are
consecutive pieces of --context tokens; with M windows of N pieces, window i is piece floor(i * N / M). Every token of
a window but the first is scored. Weights are raised to f32 (or kept in bf16 with --dtype bfloat16).

    pip install numpy torch transformers gguf
    tools/perplexity_reference.py MODEL_FOLDER --text FILE --context 2048 --windows 8 -o reference.json
    tools/perplexity_reference.py --compare reference.json --lowkey build/release/apps/cli/lowkey MODEL --text FILE

The result is added to the list in the output file under the name of the model's folder. --compare runs lowkey on
every entry of that name and prints both figures and their difference.
"""
import argparse
import json
import math
import pathlib
import subprocess
import time


def token_stream(folder, config, path):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(pathlib.Path(folder) / "tokenizer.json"))
    texts = pathlib.Path(path).read_bytes().split(b"\0")
    if not texts[-1]:
        texts.pop()
    stream = []
    for text in texts:
        stream += [config.bos_token_id, *tokenizer.encode(text.decode("utf-8"), add_special_tokens=False).ids]
    return stream


def window_nll(model, ids):
    """Mean negative log-likelihood of ids[1:], in f64."""
    import torch

    with torch.no_grad():
        hidden = model.model(ids[None]).last_hidden_state[0]
        total = 0.0
        for begin in range(0, len(ids) - 1, 1024):
            end = min(begin + 1024, len(ids) - 1)
            logits = model.lm_head(hidden[begin:end]).float()
            total += torch.nn.functional.cross_entropy(logits, ids[begin + 1:end + 1], reduction="sum").double().item()
    return total / (len(ids) - 1)


def reference(args):
    import torch
    import transformers

    from hf_llama import load_model

    model = load_model(args.model, dtype=getattr(torch, args.dtype), attention="sdpa", gguf=args.gguf)
    stream = torch.tensor(token_stream(args.model, model.config, args.text))
    pieces = len(stream) // args.context
    windows = min(args.windows or pieces, pieces)
    start, nll = time.time(), []
    for i in range(windows):
        begin = i * pieces // windows * args.context
        nll.append(window_nll(model, stream[begin:begin + args.context]))
        print(f"window {i + 1}/{windows}: {math.exp(nll[-1]):.4f}  ({time.time() - start:.0f} s)", flush=True)
    weights = pathlib.Path(args.gguf).name if args.gguf else args.dtype
    return {"model": pathlib.Path(args.model).name, "weights": weights,
            "text": pathlib.Path(args.text).name, "stream_tokens": len(stream), "context": args.context,
            "windows": windows, "window_nll": nll, "perplexity": math.exp(sum(nll) / windows),
            "torch": torch.__version__, "transformers": transformers.__version__}


def compare(args):
    name = args.name or pathlib.Path(args.model).name
    for entry in json.loads(pathlib.Path(args.compare).read_text()):
        if entry["model"] != name or entry["weights"] != args.dtype:
            continue
        command = [args.lowkey, "eval", args.model, "--task", "perplexity", "--text", args.text, "--json",
                   "--context", str(entry["context"]), "--windows", str(entry["windows"])]
        result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        ours = find(result, "perplexity")
        print(f"{name} at {entry['context']:>6} x {entry['windows']}: lowkey {ours:.4f}, PyTorch "
              f"{entry['perplexity']:.4f}, difference {100 * (ours / entry['perplexity'] - 1):+.3f} %", flush=True)


def find(value, key):
    """The first number under `key` at any depth."""
    if isinstance(value, dict):
        if isinstance(value.get(key), (int, float)):
            return value[key]
        value = list(value.values())
    if isinstance(value, list):
        return next((x for x in (find(item, key) for item in value) if x is not None), None)
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="Hugging Face folder; with --compare what lowkey opens")
    parser.add_argument("--text", required=True)
    parser.add_argument("--context", type=int, default=2048)
    parser.add_argument("--windows", type=int, default=0, help="how many, evenly spaced; 0: all")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--gguf", help="take the weights, dequantised, from this file")
    parser.add_argument("-o", "--output", type=pathlib.Path)
    parser.add_argument("--compare", help="a file of references: run lowkey on the same windows")
    parser.add_argument("--lowkey", default="lowkey")
    parser.add_argument("--name", help="with --compare: the model's name in the references")
    args = parser.parse_args()
    if args.compare:
        return compare(args)
    result = reference(args)
    print(f"perplexity {result['perplexity']:.4f} ({result['windows']} windows of {result['context']})")
    if args.output:
        entries = json.loads(args.output.read_text()) if args.output.exists() else []
        args.output.write_text(json.dumps([*entries, result], indent=1) + "\n")


if __name__ == "__main__":
    main()
