#!/usr/bin/env python3
"""lowkey and llama.cpp on the same GGUF, one after the other in every round: decoding at several depths, a prompt.

llama.cpp runs as llama-cpp-python (LLAMA_CPP_LIB_PATH names a folder with another build of its libraries) or, with
--llama-bench PATH, as that program. With llama-cpp-python both caches are filled with noise before decoding at depth,
because the time of a step depends on how many keys there are, not on what they say; llama-bench reads a real prompt
of that length first, which takes long. Both of llama.cpp's attention paths are timed (flash attention off and on)
and lowkey is compared with the faster one. --attention adds runs of lowkey with other methods, --isa with narrower
instructions.

    pip install numpy llama-cpp-python
    tools/make_random_model.py -o llama-1b-q8_0.gguf
    bench/versus_llama.py llama-1b-q8_0.gguf --lowkey build/release/apps/cli/lowkey --threads 2 --depth 0,4096,32768
"""
import argparse
import datetime
import json
import pathlib
import statistics
import subprocess
import time

from record import ROOT, commit, machine


def output_of(command):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout


class Lowkey:
    def __init__(self, args, attention="dense", isa=None):
        self.program, self.model, self.threads, self.attention = args.lowkey, args.model, args.threads, attention
        self.limit = ["--isa", isa] if isa else []
        self.version = output_of([self.program, "--version"]).strip()

    def rate(self, what, tokens, depth):
        """Tokens per second of one run after one untimed step."""
        found = json.loads(output_of([self.program, "bench", what, self.model, "-n", tokens, "--depth", depth, "-r", 1,
                                      "--threads", self.threads, "--kv-type", "f16", "--json", *self.limit,
                                      *(["--attention", self.attention] if what == "decode" else [])]))
        self.isa = found.get("isa")
        return found["results"][0]["tokens_per_second"]

    def close(self):
        pass


class LlamaBench:
    """llama.cpp's own bench program; it fills the cache by reading a prompt."""

    def __init__(self, args, flash):
        self.program, self.model, self.threads, self.flash = args.llama_bench, args.model, args.threads, flash
        self.version = f"llama-bench {args.llama_bench}"

    def rate(self, what, tokens, depth):
        prompt, generate = (tokens, 0) if what == "prefill" else (0, tokens)
        found = json.loads(output_of([self.program, "-m", self.model, "-t", self.threads, "-r", 1, "-o", "json", "-p",
                                      prompt, "-n", generate, "-d", depth, "-fa", int(self.flash)]))
        self.version = f"llama.cpp {found[0]['build_commit']}"
        return found[0]["avg_ts"]

    def close(self):
        pass


class LlamaPython:
    """llama.cpp through llama-cpp-python's C interface; one context per depth, its cache filled with noise."""

    def __init__(self, args, flash):
        import llama_cpp
        from llama_noise import noise_state  # needs numpy

        self.api, self.noise_state = llama_cpp, noise_state
        self.version = f"llama-cpp-python {llama_cpp.__version__}"
        self.threads, self.flash, self.context, self.key = args.threads, flash, None, None
        self.quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)
        llama_cpp.llama_log_set(self.quiet, None)
        llama_cpp.llama_backend_init()
        self.weights = llama_cpp.llama_model_load_from_file(str(args.model).encode(),
                                                            llama_cpp.llama_model_default_params())
        self.vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.weights))

    def open(self, tokens, depth):
        self.close()
        params = self.api.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch, params.n_seq_max = max(depth + tokens + 64, 512), 512, 512, 1
        params.n_threads = params.n_threads_batch = self.threads
        params.flash_attn_type = int(self.flash)
        self.context = self.api.llama_init_from_model(self.weights, params)
        self.memory = self.api.llama_get_memory(self.context)
        if depth:
            self.run([1], 1)  # the shape of the state is read from that of one token
            state = self.noise_state(self.api, self.context, depth)
            self.api.llama_memory_seq_rm(self.memory, 0, -1, -1)
            read = self.api.llama_state_seq_set_data(self.context, state, len(state), 0)
            if read != len(state) or self.api.llama_memory_seq_pos_max(self.memory, 0) != depth - 1:
                raise SystemExit("this llama.cpp keeps its state in another form: use --llama-bench")

    def run(self, tokens, step):
        for begin in range(0, len(tokens), step):
            piece = tokens[begin:begin + step]
            array = (self.api.llama_token * len(piece))(*piece)
            if self.api.llama_decode(self.context, self.api.llama_batch_get_one(array, len(piece))):
                raise SystemExit("llama_decode failed")
        self.api.llama_synchronize(self.context)

    def rate(self, what, tokens, depth):
        step = 512 if what == "prefill" else 1
        if self.key != (what, tokens, depth):
            self.open(tokens, depth)
            self.key = (what, tokens, depth)
        ids = [i * 7919 % self.vocabulary for i in range(tokens)]
        self.run(ids[:step], step)
        self.api.llama_memory_seq_rm(self.memory, 0, depth, -1)
        start = time.perf_counter()
        self.run(ids, step)
        seconds = time.perf_counter() - start
        self.api.llama_memory_seq_rm(self.memory, 0, depth, -1)
        return tokens / seconds

    def close(self):
        if self.context:
            self.api.llama_free(self.context)
        self.context = self.key = None


def measure(case, engines, args):
    """One case: the engines take turns in every round; medians, and the median of each round's ratio."""
    what, tokens, depth = case
    if what == "prefill":  # dense whatever the method
        engines = {name: e for name, e in engines.items() if getattr(e, "attention", "dense") == "dense"}
    rates = {name: [] for name in engines}
    for _ in range(args.rounds):
        for name, engine in engines.items():
            rates[name].append(engine.rate(what, tokens, depth))
            time.sleep(0.5)  # threads of the other engine that still spin go to sleep
    median = {name: statistics.median(values) for name, values in rates.items()}
    for name in engines:
        engines[name].close()
    faster = max((name for name in engines if name.startswith("llama.cpp")), key=median.get)
    ratios = {name: statistics.median(a / b for a, b in zip(rates[name], rates[faster]))
              for name in engines if name.startswith("lowkey")}
    return {"bench": what, "tokens": tokens, "depth": depth, "tokens_per_second": median, "rounds": rates,
            "faster_path": faster, "ratio": ratios["lowkey"], "ratios": ratios}


def describe(args, engines):
    return {"commit": commit(), "date": datetime.date.today().isoformat(), "machine": machine(),
            "model": args.model.name, "threads": args.threads, "rounds": args.rounds,
            "cache_filled_with": "a prompt" if args.llama_bench else "noise", "lowkey": engines["lowkey"].version,
            "isa": engines["lowkey"].isa, "peer": engines["llama.cpp"].version}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=pathlib.Path, help="a GGUF file")
    parser.add_argument("--lowkey", default=ROOT / "build/release/apps/cli/lowkey", help="the program")
    parser.add_argument("--llama-bench", help="use this program instead of llama-cpp-python")
    parser.add_argument("--attention", nargs="*", default=[], help="methods beside dense, when decoding")
    parser.add_argument("--isa", nargs="*", default=[], help="instruction sets beside the best there is")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--depth", default="0,4096,32768", help="tokens in the cache when decoding; '' for none")
    parser.add_argument("--tokens", type=int, default=16, help="decoded in one round")
    parser.add_argument("--prompt", type=int, default=512, help="tokens; 0: no prompt case")
    parser.add_argument("-o", "--output", type=pathlib.Path, default=ROOT / "bench/results/versus_llama.json")
    args = parser.parse_args()
    peer = LlamaBench if args.llama_bench else LlamaPython
    engines = {"lowkey": Lowkey(args), **{f"lowkey {a}": Lowkey(args, a) for a in args.attention},
               **{f"lowkey {isa}": Lowkey(args, isa=isa) for isa in args.isa},
               "llama.cpp": peer(args, False), "llama.cpp flash": peer(args, True)}
    cases = [("decode", args.tokens, int(depth)) for depth in args.depth.split(",") if depth]
    cases += [("prefill", args.prompt, 0)] if args.prompt else []
    cache = "a prompt" if args.llama_bench else "noise"
    results = []
    print(f"| {args.model.name}, {args.threads} threads, cache filled with {cache} | "
          + " | ".join(f"{name} t/s" for name in engines) + " | lowkey / faster |\n|---|" + "---:|" * (len(engines) + 1))
    for case in cases:
        result = measure(case, engines, args)
        results.append(result)
        rate = result["tokens_per_second"]
        title = f"prompt of {case[1]}" if case[0] == "prefill" else f"decode at {case[2]}"
        print(f"| {title} | " + " | ".join(f"{rate[name]:.2f}" if name in rate else "" for name in engines) + " | "
              + ", ".join(f"{ratio:.2f}x" for ratio in result["ratios"].values()) + " |", flush=True)
        args.output.parent.mkdir(parents=True, exist_ok=True)  # after each case: a run cut short keeps what it has
        args.output.write_text(json.dumps({**describe(args, engines), "results": results}, indent=1) + "\n")
    about = describe(args, engines)
    print(" · ".join(f"{key}: {value}" for key, value in about.items()))


if __name__ == "__main__":
    main()
