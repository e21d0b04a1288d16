#!/usr/bin/env python3
"""Save what `lowkey eval` should find on a tiny model, computed apart from it: NumPy, f64, whole matrices.

The forward pass below is checked against the logits that Hugging Face transformers gave for the same model
(NAME.logits.safetensors), then run with the selections of three methods in place of whole rows. The fixture (JSON):
  ids           the tokens: seeded, from the model's vocabulary
  perplexity    windows of `context` tokens every `stride`: nll of their scored tokens
  agreement     for each method, of the last `scored` positions of one window: KL to dense, nll, top-1; and by layer
                and query head recall, Jaccard and mass against exact top-k, and the error of attention's output
  spectra       of keys before and after RoPE, by layer and KV head: variances, rank@p, entropy, effective rank

    pip install numpy safetensors
    tools/make_eval_fixture.py tests/data/tiny-llama3 -o tests/data/eval.json
"""
import argparse
import json
import math
import pathlib

import numpy as np
from safetensors.numpy import load_file

CONTEXT, SCORED, STRIDE = 160, 24, 40
# (spec, sink, recent, k): k None reads no others
METHODS = [("dense", 0, 0, None), ("topk:k=16,sink=2,recent=4", 2, 4, 16), ("streaming:sink=2,recent=80", 2, 80, 0)]
SHARES = [0.5, 0.8, 0.9, 0.95, 0.99]


class Llama:
    def __init__(self, folder):
        self.config = json.loads((folder / "config.json").read_text())
        self.weights = {k: v.astype(np.float64) for k, v in load_file(folder / "model.safetensors").items()}
        c = self.config
        self.layers, self.heads, self.kv_heads = c["num_hidden_layers"], c["num_attention_heads"], c["num_key_value_heads"]
        self.dim, self.group = c["head_dim"], self.heads // self.kv_heads
        self.frequency = self.rope_frequencies()

    def rope_frequencies(self):
        """Llama-3's: long wavelengths are stretched, those between blended (arXiv 2407.21783)."""
        c = self.config
        frequency = c["rope_theta"] ** (-np.arange(0, self.dim, 2) / self.dim)
        s = c.get("rope_scaling") or {}
        if s.get("rope_type") == "linear":
            return frequency / s["factor"]
        if s.get("rope_type") != "llama3":
            return frequency
        wavelength, old = 2 * math.pi / frequency, s["original_max_position_embeddings"]
        blend = (old / wavelength - s["low_freq_factor"]) / (s["high_freq_factor"] - s["low_freq_factor"])
        blend = np.clip(blend, 0, 1)
        return (1 - blend) * frequency / s["factor"] + blend * frequency

    def norm(self, x, name):
        eps = self.config["rms_norm_eps"]
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * self.weights[name]

    def rotate(self, x):
        """x: [T, heads, D], halves apart."""
        angle = np.arange(len(x))[:, None] * self.frequency
        cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
        a, b = x[..., :self.dim // 2], x[..., self.dim // 2:]
        return np.concatenate([a * cos - b * sin, b * cos + a * sin], -1)

    def forward(self, ids, attend=None):
        """attend(layer, p, v): p [H, T, T] the causal softmax, v [T, H, D] -> [T, H, D]. Returns logits and keys."""
        w, n = self.weights, len(ids)
        x, keys = w["model.embed_tokens.weight"][ids], []
        causal = np.tril(np.ones((n, n), bool))
        for layer in range(self.layers):
            name = f"model.layers.{layer}."
            h = self.norm(x, name + "input_layernorm.weight")
            q, k, v = (h @ w[name + f"self_attn.{p}_proj.weight"].T for p in "qkv")
            q = self.rotate(q.reshape(n, self.heads, self.dim))
            raw = k.reshape(n, self.kv_heads, self.dim)
            k, v = self.rotate(raw), v.reshape(n, self.kv_heads, self.dim)
            keys.append((raw, k))
            k, v = np.repeat(k, self.group, 1), np.repeat(v, self.group, 1)
            scores = np.einsum("ihd,jhd->hij", q, k) / math.sqrt(self.dim)
            p = softmax(np.where(causal, scores, -np.inf))
            out = attend(layer, p, v) if attend else np.einsum("hij,jhd->ihd", p, v)
            x = x + out.reshape(n, -1) @ w[name + "self_attn.o_proj.weight"].T
            h = self.norm(x, name + "post_attention_layernorm.weight")
            gate, up = h @ w[name + "mlp.gate_proj.weight"].T, h @ w[name + "mlp.up_proj.weight"].T
            x = x + (gate / (1 + np.exp(-gate)) * up) @ w[name + "mlp.down_proj.weight"].T
        head = "model.embed_tokens.weight" if self.config["tie_word_embeddings"] else "lm_head.weight"
        return self.norm(x, "model.norm.weight") @ w[head].T, keys


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def log_softmax(x):
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


class Observed:
    """Attention that reads only what a method chooses in the last rows, and compares it with exact top-k."""

    def __init__(self, model, sink, recent, k, first):
        self.model, self.sink, self.recent, self.k, self.first = model, sink, recent, k, first
        shape = (model.layers, model.heads)
        self.sums = {key: np.zeros(shape) for key in ("recall", "jaccard", "mass", "exact_mass", "output_error")}
        self.margin = 1.0  # of the last chosen score over the first left out, relative

    def best(self, p, begin, end, count):
        """The `count` best tokens of [begin, end) of one row by the largest softmax of the group. p: [G, T]"""
        order = np.argsort(-p[:, begin:end].max(0), kind="stable") + begin
        if count < len(order):
            chosen, left = p[:, order[count - 1]].max(), p[:, order[count]].max()
            self.margin = min(self.margin, (chosen - left) / chosen)
        return set(order[:count].tolist())

    def row(self, layer, i, head, p, v):
        """One row of a KV head: p [G, i + 1], v [i + 1, G, D]."""
        n, ends = i + 1, lambda sink, recent: set(range(sink)) | set(range(n - recent, n))
        exact_out = np.einsum("gj,jgd->gd", p, v)
        if self.k is None or self.sink + self.recent + self.k >= n:
            chosen = exact = set(range(n))
            mine = best = chosen
        elif self.k:
            mine = best = self.best(p, self.sink, n - self.recent, self.k)
            chosen = exact = mine | ends(self.sink, self.recent)
        else:  # judged by 4 and 64, as what ranks nothing is
            chosen = ends(self.sink, self.recent)
            mine = {t for t in chosen if 4 <= t < n - 64}
            best = self.best(p, 4, n - 64, len(mine))
            exact = best | ends(4, 64)
        kept = np.array(sorted(chosen))
        out = np.einsum("gj,jgd->gd", p[:, kept] / p[:, kept].sum(-1, keepdims=True), v[kept])
        for g in range(len(p)):
            at = (layer, head * len(p) + g)
            self.sums["recall"][at] += len(mine & best) / len(best)
            self.sums["jaccard"][at] += len(mine & best) / len(mine | best)
            self.sums["mass"][at] += p[g, kept].sum()
            self.sums["exact_mass"][at] += p[g, sorted(exact)].sum()
            self.sums["output_error"][at] += np.linalg.norm(out[g] - exact_out[g]) / np.linalg.norm(exact_out[g])
        return out

    def __call__(self, layer, p, v):
        out, group = np.einsum("hij,jhd->ihd", p, v), self.model.group
        for i in range(self.first, len(out)):
            for head in range(self.model.kv_heads):
                of = slice(head * group, (head + 1) * group)
                out[i, of] = self.row(layer, i, head, p[of, i, :i + 1], v[:i + 1, of])
        return out


def check_forward(model, path):
    """Against the logits that PyTorch gave: its f32 rounding is what may differ."""
    saved = load_file(path)
    ids = saved["ids"][:300]
    logits, _ = model.forward(ids)
    probes = saved["probes"][:300]
    at = (np.arange(300)[:, None] + np.arange(probes.shape[1]) * (logits.shape[1] // probes.shape[1])) % logits.shape[1]
    error = np.abs(np.take_along_axis(logits, at, 1) - probes).max()
    assert error < 1e-5 * np.abs(probes).max() + 1e-5, f"off by {error} from {path}"
    print(f"{path}: largest difference {error:.2e} of logits up to {np.abs(probes).max():.2f}")


def perplexity(model, ids):
    windows = []
    for begin in range(0, len(ids) - CONTEXT + 1, STRIDE):
        window = ids[begin:begin + CONTEXT]
        log_p = log_softmax(model.forward(window)[0])
        nll = -log_p[np.arange(CONTEXT - 1), window[1:]]
        first = 1 if begin == 0 else CONTEXT - STRIDE
        windows.append({"begin": begin, "tokens": CONTEXT - first, "nll": nll[first - 1:].mean()})
    return windows


def agreement(model, ids):
    """One window; the position after the last is the last one's target. Keys and values of dense attention before the
    scored rows are those of every method there, as rows do not see later ones."""
    window, target = ids[:CONTEXT], ids[CONTEXT - SCORED + 1:CONTEXT + 1]
    dense = log_softmax(model.forward(window)[0][-SCORED:])
    results = []
    for spec, sink, recent, k in METHODS:
        observed = Observed(model, sink, recent, k, CONTEXT - SCORED)
        other = log_softmax(model.forward(window, observed)[0][-SCORED:])
        rows = np.arange(SCORED)
        results.append({
            "attention": spec, "kl": (np.exp(dense) * (dense - other)).sum(-1).mean(),
            "nll": -other[rows, target].mean(), "dense_nll": -dense[rows, target].mean(),
            "same_top": (dense.argmax(-1) == other.argmax(-1)).mean(), "margin": observed.margin,
            **{key: (value / SCORED).tolist() for key, value in observed.sums.items()}})
        assert observed.margin > 1e-4, f"{spec}: two scores are too close to tell apart in f32 ({observed.margin})"
    return results


def spectra(model, ids):
    """Of all keys but the first 16, which calibration leaves out."""
    keys, found = model.forward(ids)[1], {"pre": [], "post": []}
    for layer in keys:
        for basis, x in zip(("pre", "post"), layer):
            heads = []
            for head in range(model.kv_heads):
                k = x[16:, head]
                variances = np.linalg.eigvalsh(np.cov(k.T, bias=True))[::-1].clip(0)
                share = variances / variances.sum()
                nats = -(share[share > 0] * np.log(share[share > 0])).sum()
                heads.append({
                    "spectrum": variances.tolist(), "entropy": nats / math.log(model.dim),
                    "effective_rank": math.exp(nats),
                    "ranks": [int(np.searchsorted(np.cumsum(share), p)) + 1 for p in SHARES]})
            found[basis].append(heads)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=pathlib.Path, help="Hugging Face folder, with NAME.logits.safetensors beside it")
    parser.add_argument("-o", "--output", type=pathlib.Path, required=True)
    args = parser.parse_args()
    model = Llama(args.model)
    check_forward(model, args.model.parent / f"{args.model.name}.logits.safetensors")
    ids = np.random.default_rng(5).integers(2, model.config["vocab_size"], CONTEXT + 3 * STRIDE)
    fixture = {"model": args.model.name, "context": CONTEXT, "scored": SCORED, "stride": STRIDE, "ids": ids.tolist(),
               "perplexity": perplexity(model, ids), "agreement": agreement(model, ids),
               "spectra": spectra(model, ids)}
    args.output.write_text(json.dumps(json.loads(json.dumps(fixture), parse_float=lambda x: float(f"{float(x):.9g}")))
                           + "\n")
    print(f"{args.output}: {args.output.stat().st_size} bytes")


if __name__ == "__main__":
    main()
