#!/usr/bin/env python3
"""Does llama.cpp read what `lowkey convert` writes as lowkey does, and lowkey what llama.cpp's tools quantise?

For a Hugging Face folder it converts to each type and checks, in llama-cpp-python on the same file:
  f16         the same 64 greedy tokens after each of ten prompts; where they part, llama.cpp's best two logits must
              be a tie, that is nearer than 1e-3 of the range of its logits, the tolerance for logits
  q8_0 q4_0   the perplexity of the first 2,048 tokens of a text within 0.5 % of one another
With --llama-quantize, its Q8_0, Q4_0 and pure Q4_0 of the f16 file are checked the same way. Exit code 1 when
anything differs.

    pip install numpy llama-cpp-python
    tools/check_llama_cpp.py MODEL_FOLDER --text FILE --lowkey build/release/apps/cli/lowkey
"""
import argparse
import ctypes
import json
import math
import pathlib
import subprocess
import sys
import tempfile

import llama_cpp
import numpy as np

PROMPTS = [
    "It was a dark night, and", "The captain looked at the sea and said", "Once upon a time there was a king who",
    "\"I do not believe you,\" said", "In the year 1789 the people of Paris", "She opened the door, and in the room",
    "The first law of nature is", "My dear friend,\n\nI have received your letter", "When the spring came, the old man",
    "There are three things that a soldier must",
]
LIMIT = 0.005
TIE = 1e-3


def lowkey(args, *words):
    done = subprocess.run([str(word) for word in (args.lowkey, *words)], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "failed in silence")
    return json.loads(done.stdout)


def run(*command):
    subprocess.run(command, check=True, capture_output=True)


class Peer:
    """One GGUF in llama.cpp."""

    def __init__(self, path, threads):
        self.model = llama_cpp.llama_model_load_from_file(str(path).encode(), llama_cpp.llama_model_default_params())
        if not self.model:
            raise RuntimeError("llama.cpp does not load the file")
        self.vocab = llama_cpp.llama_model_get_vocab(self.model)
        params = llama_cpp.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch = 2304, 2048, 512
        params.n_threads = params.n_threads_batch = threads
        self.context = llama_cpp.llama_init_from_model(self.model, params)

    def close(self):
        llama_cpp.llama_free(self.context)
        llama_cpp.llama_model_free(self.model)

    def tokens(self, text):
        data = text.encode()
        ids = (llama_cpp.llama_token * (len(data) + 8))()
        count = llama_cpp.llama_tokenize(self.vocab, data, len(data), ids, len(ids), True, False)
        return list(ids[:count])

    def forget(self):
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.context), True)

    def logits(self, tokens, begin, every):
        """[T, V] for all of the tokens, or [1, V] for the last."""
        batch = llama_cpp.llama_batch_init(len(tokens), 0, 1)
        batch.n_tokens = len(tokens)
        for i, token in enumerate(tokens):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0] = token, begin + i, 1, 0
            batch.logits[i] = every or i == len(tokens) - 1
        failed = llama_cpp.llama_decode(self.context, batch)
        llama_cpp.llama_batch_free(batch)
        if failed:
            raise RuntimeError("llama_decode failed")
        shape = (len(tokens) if every else 1, llama_cpp.llama_vocab_n_tokens(self.vocab))
        return np.ctypeslib.as_array(llama_cpp.llama_get_logits(self.context), shape).copy()

    def greedy(self, tokens, count):
        """The tokens, and the gap between the best two logits at each, as a part of the logits' range."""
        self.forget()
        found, gaps, at, row = [], [], len(tokens), self.logits(tokens, 0, False)[0]
        for _ in range(count):
            second, best = np.sort(row)[-2:]
            found.append(int(row.argmax()))
            gaps.append(float((best - second) / (best - row.min())))
            row = self.logits([found[-1]], at, False)[0]
            at += 1
        return found, gaps

    def perplexity(self, tokens):
        self.forget()
        logits = self.logits(tokens, 0, True).astype(np.float64)[:-1]
        most = logits.max(-1, keepdims=True)
        norm = most[:, 0] + np.log(np.exp(logits - most).sum(-1))
        return math.exp(float(np.mean(norm - logits[np.arange(len(logits)), tokens[1:]])))


def check_greedy(args, path):
    peer, same, ties = Peer(path, args.threads), 0, 0
    for prompt in PROMPTS:
        ids = peer.tokens(prompt)
        theirs, gaps = peer.greedy(ids, 64)
        ours = lowkey(args, "run", path, "-p", prompt, "-n", 64, "--ignore-end", "--json", "--threads", args.threads)
        if ours["prompt_tokens"] != len(ids):
            print(f"  {prompt!r}: {ours['prompt_tokens']} prompt tokens, llama.cpp has {len(ids)}")
        elif ours["tokens"] == theirs:
            same += 1
        else:
            at = next(i for i, (a, b) in enumerate(zip(ours["tokens"], theirs)) if a != b)
            ties += gaps[at] < TIE
            print(f"  {prompt!r}: token {at} differs, llama.cpp's best two are {gaps[at]:.1e} of the range apart")
    peer.close()
    print(f"{path.name}: {same} of {len(PROMPTS)} prompts give the same 64 greedy tokens, {ties} part at a tie",
          flush=True)
    return same + ties == len(PROMPTS)


def check_perplexity(args, path, text):
    peer = Peer(path, args.threads)
    theirs = peer.perplexity(peer.tokens(text.read_text())[:2048])
    peer.close()
    try:
        result = lowkey(args, "eval", path, "--task", "perplexity", "--text", text, "--context", 2048, "--windows", 1,
                        "--json", "--threads", args.threads)
    except RuntimeError as error:
        print(f"{path.name}: lowkey: {error}", flush=True)
        return False
    ours = result["results"][0]["perplexity"]
    print(f"{path.name}: perplexity lowkey {ours:.4f}, llama.cpp {theirs:.4f}, {100 * (ours / theirs - 1):+.3f} %",
          flush=True)
    return abs(ours / theirs - 1) <= LIMIT


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=pathlib.Path, help="a Hugging Face folder")
    parser.add_argument("--text", type=pathlib.Path, required=True, help="its first document is scored")
    parser.add_argument("--lowkey", default="lowkey")
    parser.add_argument("--llama-quantize", help="the program of llama.cpp")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)
    llama_cpp.llama_log_set(quiet, ctypes.c_void_p(0))
    llama_cpp.llama_backend_init()
    print(f"llama-cpp-python {llama_cpp.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        text = folder / "text"
        text.write_bytes(args.text.read_bytes().split(b"\0")[0])
        files = {kind: folder / f"{args.model.name}.{kind}.gguf" for kind in ("f16", "q8_0", "q4_0")}
        for kind, path in files.items():
            run(args.lowkey, "convert", args.model, "-o", path, "--type", kind)
        good = [check_greedy(args, files["f16"])]
        good += [check_perplexity(args, path, text) for path in files.values()]
        for options in (["Q8_0"], ["Q4_0"], ["Q4_0", "--pure"]) if args.llama_quantize else ():
            path = folder / f"llama-quantize-{'-'.join(options).replace('---', '-')}.gguf"
            run(args.llama_quantize, *options[1:], files["f16"], path, options[0])
            good.append(check_perplexity(args, path, text))
    print("all agree" if all(good) else "some differ")
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
