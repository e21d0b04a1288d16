#!/usr/bin/env python3
"""What rounding costs in perplexity: of weights by type, and of keys and values kept as bytes.

weights  converts a Hugging Face folder to each type, and scores the same windows of a text with lowkey reading chunks,
         with lowkey reading 8 tokens at a time (the products that decode), and with llama.cpp. Rows are kept as they come: a run cut
         short goes on where it was.
cache    scores windows with --kv-type f16, int8 and int4 (keys in 8 bits, values in 4); what is kept of an
         earlier run is not asked again.
attention  times one layer's decoding behind 32,768 tokens (32 query and 8 KV heads of 128) by type of cache, in turn.

Rises are paired: the mean over windows of the difference to f16, with 1.96 standard errors.

    pip install numpy llama-cpp-python tokenizers
    bench/quantised.py weights MODEL_FOLDER --text FILE
    bench/quantised.py cache MODEL_FOLDER --text FILE --context 8192 --windows 2
    bench/quantised.py attention --rounds 5
"""
import argparse
import ctypes
import datetime
import json
import math
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
import types

from record import ROOT, commit, machine

sys.path.insert(0, str(ROOT / "tools"))
CACHES = ("f16", "int8", "int4")
TYPES = "f16 q8_0 q6_k q5_1 q5_k q5_0 q4_1 q4_k q4_0 q3_k q2_k".split()


def lowkey_nll(args, model, *options):
    """Of each window, per token."""
    command = [args.lowkey, "eval", model, "--task", "perplexity", "--text", args.text, "--context", args.context,
               "--windows", args.windows, "--threads", args.threads, "--json", *options]
    done = subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)["results"][0]["window_nll"]


def has_peer():
    try:
        import llama_cpp  # noqa: F401
    except (ImportError, FileNotFoundError):  # or its library is not there
        return False
    return True


def peer_nll(args, path):
    """Of the same windows in llama.cpp; its name."""
    import llama_cpp
    from check_llama_cpp import Peer
    from perplexity_reference import token_stream

    quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)
    llama_cpp.llama_log_set(quiet, ctypes.c_void_p(0))
    config = types.SimpleNamespace(**json.loads((args.model / "config.json").read_text()))
    stream = token_stream(args.model, config, args.text)
    pieces = len(stream) // args.context
    peer, nll = Peer(path, args.threads), []
    for i in range(args.windows):
        begin = i * pieces // args.windows * args.context
        nll.append(math.log(peer.perplexity(stream[begin:begin + args.context])))
    peer.close()
    return nll, f"llama-cpp-python {llama_cpp.__version__}"


def rise(nll, exact):
    """Percent of perplexity over `exact`, window by window: the mean and the ends of its interval."""
    difference = [a - b for a, b in zip(nll, exact)]
    mean = statistics.mean(difference)
    wide = 1.96 * statistics.stdev(difference) / math.sqrt(len(difference)) if len(difference) > 1 else math.nan
    return [100 * math.expm1(x) for x in (mean, mean - wide, mean + wide)]


def perplexity(nll):
    return math.exp(statistics.mean(nll))


def about(args, **more):
    return {"command": f"bench/quantised.py {args.what} {args.model.name} --text {args.text.name} "
                       f"--context {args.context} --windows {args.windows}", "commit": commit(),
            "date": datetime.date.today().isoformat(), "machine": machine(), "model": args.model.name,
            "text": args.text.name, "context": args.context, "windows": args.windows, **more}


def weights(args, result):
    rows = {row["type"]: row for row in result.get("results", [])}
    peer = result.get("peer")
    for kind in ["f16", *args.types]:  # what the others are compared with
        row = rows.setdefault(kind, {"type": kind})
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / f"{kind}.gguf"
            missing = {"nll", "nll_decoding"} | (set() if args.alone else {"nll_peer"})
            if missing - row.keys() and time.monotonic() < args.end:
                subprocess.run([args.lowkey, "convert", args.model, "-o", path, "--type", kind], check=True)
                row["megabytes"] = path.stat().st_size / 1e6
            for key, measure in {"nll": lambda: lowkey_nll(args, path),
                                 "nll_decoding": lambda: lowkey_nll(args, path, "--chunk", 8),
                                 "nll_peer": lambda: peer_nll(args, path)}.items():
                if key in row or time.monotonic() > args.end or (key == "nll_peer" and args.alone):
                    continue
                print(f"+ {kind} {key}", file=sys.stderr, flush=True)
                row[key] = measure()
                if key == "nll_peer":
                    row[key], peer = row[key]
                of, exact = key[3:], rows["f16"][key]
                row["perplexity" + of] = perplexity(row[key])
                row["rise" + of], row["low" + of], row["high" + of] = rise(row[key], exact)
                yield about(args, peer=peer, results=[rows[kind] for kind in TYPES if kind in rows])


def cache(args, result):
    nll = dict(result.get("nll", {}))
    for kind in CACHES:
        if kind in nll:
            continue
        nll[kind] = lowkey_nll(args, args.model, "--kv-type", kind)
        rows = [{"kv_type": of, "perplexity": perplexity(x), **dict(zip(("rise", "low", "high"), rise(x, nll["f16"])))}
                for of, x in nll.items()]
        yield about(args, nll=nll, results=rows)


def attention(args, result):
    """Nothing is kept of an earlier run: types are compared within a round."""
    command = [args.lowkey, "bench", "attention", "--context", 32768, "--heads", 32, "--kv-heads", 8, "--head-dim", 128,
               "--threads", args.threads, "-r", 7, "--json", "--kv-type"]
    rounds = []
    for _ in range(args.rounds):
        rounds.append({})
        for kind in CACHES:
            done = subprocess.run([str(word) for word in [*command, kind]], check=True, capture_output=True, text=True)
            rounds[-1][kind] = json.loads(done.stdout)["results"][0]
    rows = []
    for kind in CACHES:
        times = [one["f16"]["microseconds"] / one[kind]["microseconds"] for one in rounds]
        of = {key: statistics.median(one[kind][key] for one in rounds)
              for key in ("microseconds", "gigabytes_per_second", "probe_gigabytes_per_second")}
        fastest = {each: min(one[each]["fastest_microseconds"] for one in rounds) for each in ("f16", kind)}
        rows.append({"kv_type": kind, "bytes": rounds[0][kind]["bytes"] // 8 // 32768, **of,
                     "fastest_microseconds": fastest[kind], "times_fastest": fastest["f16"] / fastest[kind],
                     "times": statistics.median(times), "times_least": min(times), "times_most": max(times)})
    yield {"command": f"bench/quantised.py attention --threads {args.threads} --rounds {args.rounds}", "commit": commit(),
           "date": datetime.date.today().isoformat(), "machine": machine(), "results": rows}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("weights", "cache", "attention"))
    parser.add_argument("model", type=pathlib.Path, nargs="?", help="a Hugging Face folder")
    parser.add_argument("--text", type=pathlib.Path)
    parser.add_argument("--lowkey", default=ROOT / "build/release/apps/cli/lowkey", help="the program")
    parser.add_argument("--context", type=int, default=2048)
    parser.add_argument("--windows", type=int, default=4, help="evenly spaced over the text")
    parser.add_argument("--types", nargs="*", default=TYPES, choices=TYPES, help="of weights")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5, help="of attention")
    parser.add_argument("--alone", action="store_true", help="without llama.cpp")
    parser.add_argument("--seconds", type=float, default=150, help="after which nothing new is begun")
    parser.add_argument("-o", "--output", type=pathlib.Path, help="default: bench/results/quantised-WHAT.json")
    args = parser.parse_args()
    if args.what != "attention" and not (args.model and args.text):
        parser.error(f"{args.what} needs MODEL and --text")
    args.alone = args.alone or not has_peer()
    args.end = time.monotonic() + args.seconds
    file = args.output or ROOT / f"bench/results/quantised-{args.what}.json"
    measure = {"weights": weights, "cache": cache, "attention": attention}[args.what]
    for result in measure(args, json.loads(file.read_text()) if file.exists() else {}):
        file.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
