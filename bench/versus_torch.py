#!/usr/bin/env python3
"""The attention of one layer by lowkey and by PyTorch's scaled_dot_product_attention, one after the other in every round:
one token behind a cache of any length, and a whole prompt.

Both have the same shapes, threads and type of keys and values, filled with noise, and go in turn through as many
layers as fill half a gigabyte, as a model does. PyTorch has every way to say it that counts (decoding: query heads of a
group as heads, enable_gqa, or as rows of one head), and lowkey is compared with the fastest. --attention adds runs
of lowkey with other methods, when decoding.

    pip install torch --index-url https://download.pytorch.org/whl/cpu
    bench/versus_torch.py --threads 2 --context 4096,32768 --prompt 2048 --attention loki:index=bits:128,k=1/16,min=0
"""
import argparse
import datetime
import json
import pathlib
import statistics
import subprocess
import time

import torch
from torch.nn.functional import scaled_dot_product_attention

from record import ROOT, commit, machine

WORKING_SET = 512 << 20  # bytes of keys and values, as src/lab/bench_attention.cc has it
TYPES = {"f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32}


class Lowkey:
    """Seconds of one layer, by the program."""

    def __init__(self, args):
        self.args, self.about = args, {}

    def seconds(self, case, tokens, kv_type):
        """{name: seconds}"""
        a = self.args
        command = [a.lowkey, "bench", "attention", "--heads", a.heads, "--kv-heads", a.kv_heads, "--head-dim", a.head_dim,
                   "--context", tokens, "--kv-type", kv_type, "-r", 1, "-t", a.threads, "--json"]
        if case == "prefill":
            command += ["--prefill", "--chunk", tokens]
        else:
            for spec in ["dense", *a.attention]:
                command += ["--attention", spec]
        found = json.loads(subprocess.run([str(word) for word in command], check=True, capture_output=True).stdout)
        self.about = {"isa": found["isa"]}
        return {"lowkey" if r.get("attention", "dense") == "dense" else f"lowkey {r['attention']}":
                r["microseconds"] * 1e-6 for r in found["results"]}


class Torch:
    """The same by PyTorch. q [1, H, T, D], k and v [1, KH, S, D]."""

    def __init__(self, args, case, tokens, kv_type):
        self.causal = case == "prefill"
        kind, heads, dim = TYPES[kv_type], args.kv_heads, args.head_dim
        layer = 2 * heads * tokens * dim * kind.itemsize
        count = 1 if self.causal else max(1, WORKING_SET // layer)
        self.layers = [[torch.randn(1, heads, tokens, dim).to(kind) for _ in "kv"] for _ in range(count)]
        self.q = torch.randn(1, args.heads, tokens if self.causal else 1, dim).to(kind)
        self.rows = self.q.reshape(1, heads, args.heads // heads, dim) if not self.causal else None
        self.ways = {"torch enable_gqa": self.grouped} | ({} if self.causal else {"torch rows": self.as_rows})

    def grouped(self, k, v):
        return scaled_dot_product_attention(self.q, k, v, is_causal=self.causal, enable_gqa=True)

    def as_rows(self, k, v):
        """Heads that share keys are rows of one query: no key is read twice."""
        return scaled_dot_product_attention(self.rows, k, v)

    def seconds(self, way):
        with torch.inference_mode():
            self.ways[way](*self.layers[0])
            start = time.perf_counter()
            for k, v in self.layers:
                self.ways[way](k, v)
            return (time.perf_counter() - start) / len(self.layers)


def measure(case, tokens, kv_type, args, lowkey):
    """One case: medians, and the median of each round's ratio to the fastest of PyTorch's ways."""
    torches = Torch(args, case, tokens, kv_type)
    rounds = {}
    for _ in range(args.rounds):
        found = lowkey.seconds(case, tokens, kv_type)
        time.sleep(0.3)
        found |= {way: torches.seconds(way) for way in torches.ways}
        for name, seconds in found.items():
            rounds.setdefault(name, []).append(seconds)
    median = {name: statistics.median(values) for name, values in rounds.items()}
    fastest = min(torches.ways, key=median.get)
    ratios = {name: statistics.median(b / a for a, b in zip(rounds[name], rounds[fastest]))
              for name in rounds if name.startswith("lowkey")}
    return {"case": case, "tokens": tokens, "kv_type": kv_type, "faster_path": fastest,
            "microseconds": {name: 1e6 * value for name, value in median.items()} | {"torch": 1e6 * median[fastest]},
            "rounds": rounds, "ratio": ratios["lowkey"], "ratios": ratios}


def numbers(text):
    return [int(word) for word in text.split(",") if word]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lowkey", default=ROOT / "build/release/apps/cli/lowkey", help="the program")
    parser.add_argument("--heads", type=int, default=32)
    parser.add_argument("--kv-heads", type=int, default=8)
    parser.add_argument("--head-dim", type=int, default=128)
    parser.add_argument("--context", type=numbers, default=[4096, 32768], help="tokens in the cache when decoding")
    parser.add_argument("--prompt", type=numbers, default=[2048], help="tokens of a prompt")
    parser.add_argument("--kv-type", nargs="*", default=["f16", "f32"], choices=TYPES)
    parser.add_argument("--attention", nargs="*", default=[], help="methods beside dense, when decoding")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("-o", "--output", type=pathlib.Path, default=ROOT / "bench/results/versus_torch.json")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    lowkey, results = Lowkey(args), []
    for case, lengths in ("decode", args.context), ("prefill", args.prompt):
        for tokens in lengths:
            for kv_type in args.kv_type:
                results.append(measure(case, tokens, kv_type, args, lowkey))
                print(json.dumps({key: value for key, value in results[-1].items() if key != "rounds"}), flush=True)
                lists = {"context": args.context, "prompt": args.prompt}
                command = " ".join(["bench/versus_torch.py", f"--threads {args.threads} --rounds {args.rounds}",
                                    *(f"--{name} {','.join(map(str, values))}" for name, values in lists.items()),
                                    "--kv-type", *args.kv_type, *(["--attention", *args.attention] if args.attention else [])])
                about = {"command": command, "commit": commit(), "date": datetime.date.today().isoformat(),
                         "machine": machine(), "peer": f"torch {torch.__version__}", **lowkey.about}
                args.output.write_text(json.dumps({**about, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
