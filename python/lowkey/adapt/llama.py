"""Llama-family models for training: parameters named as in a Hugging Face folder, attention by spec."""
import torch
import torch.nn.functional as F
from torch import nn

from .attention import LayerInputs, attend
from .layers import Linear, MetricCache, head_dim, heads, inverse_frequencies, rotate
from .metric import Weights


class Llama(nn.Module):
    causal = True

    def __init__(self, config):
        super().__init__()
        for key in ("attention_bias", "mlp_bias"):
            if config.get(key):
                raise ValueError(f"config.json: {key} is not supported")
        self.config = config
        self.model = Decoder(config)
        tied = config.get("tie_word_embeddings", False)
        self.lm_head = None if tied else Linear(config["hidden_size"], config["vocab_size"], bias=False)

    def forward(self, ids, spec=None):
        """ids [B, T] -> the last layer's normalised outputs [B, T, C]."""
        return self.model(ids, spec)

    def logits(self, hidden):
        weight = self.model.embed_tokens.weight if self.lm_head is None else self.lm_head.weight
        return F.linear(hidden, weight.to(hidden.dtype))

    def count_losses(self):
        """From now on, in training: for lost()."""
        for block in self.model.layers:
            block.self_attn.lost = []

    def lost(self):
        """Of the last step, with its gradient: the share that the factors lost, the mean of layers and shortenings."""
        shares = [share for block in self.model.layers for share in block.self_attn.lost]
        return sum(shares) / len(shares) if shares else 0.0

    def adaptable(self):
        """The linear layers that LoRA may change, by name."""
        return {name: m for name, m in self.model.named_modules(prefix="model") if isinstance(m, Linear)}


class Decoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.embed_tokens = nn.Embedding(config["vocab_size"], config["hidden_size"])
        self.layers = nn.ModuleList(Block(config) for _ in range(config["num_hidden_layers"]))
        self.norm = RmsNorm(config)
        self.compute = torch.float32  # or bfloat16: the type of activations; parameters stay as they are
        self.register_buffer("frequencies", inverse_frequencies(config), persistent=False)

    def forward(self, ids, spec):
        x = self.embed_tokens(ids).to(self.compute)
        angles = torch.outer(torch.arange(ids.shape[1], device=ids.device, dtype=torch.float32), self.frequencies)
        positions = angles.cos(), angles.sin()
        for layer in self.layers:
            x = layer(x, positions, spec)
        return self.norm(x)


class RmsNorm(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(config["hidden_size"]))
        self.epsilon = config.get("rms_norm_eps", 1e-6)

    def forward(self, x):
        return F.rms_norm(x.float(), self.weight.shape, self.weight.float(), self.epsilon).to(x.dtype)


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.self_attn, self.mlp = Attention(config), Mlp(config)
        self.input_layernorm, self.post_attention_layernorm = RmsNorm(config), RmsNorm(config)

    def forward(self, x, positions, spec):
        x = x + self.self_attn(self.input_layernorm(x), positions, spec)
        return x + self.mlp(self.post_attention_layernorm(x))


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        width, self.dim = config["hidden_size"], head_dim(config)
        queries = config["num_attention_heads"] * self.dim
        pairs = config.get("num_key_value_heads", config["num_attention_heads"]) * self.dim
        self.q_proj, self.o_proj = Linear(width, queries, bias=False), Linear(queries, width, bias=False)
        self.k_proj, self.v_proj = Linear(width, pairs, bias=False), Linear(width, pairs, bias=False)
        self.metric = MetricCache(self._weights)
        self.lost = None  # or what each shortening has lost

    def forward(self, x, positions, spec):
        cos, sin = positions

        def rotated(a, first):
            n = a.shape[1]
            return rotate(heads(a, self.dim), cos[first : first + n], sin[first : first + n])

        def rebuilt(k, v, first):
            return rotated(k, first), heads(v, self.dim)

        self.lost = None if self.lost is None else []
        k, v = self.k_proj(x), self.v_proj(x)
        layer = LayerInputs(
            x, rotated(self.q_proj(x), 0), *rebuilt(k, v, 0), plain=(k, v), rebuilt=rebuilt,
            metric=lambda kind: self.metric.get(kind, self.training), linear=(), causal=True, training=self.training,
            lost=self.lost,
        )  # fmt: skip
        return self.o_proj(attend(spec, layer).transpose(1, 2).flatten(2))

    def _weights(self):
        return Weights(
            self.q_proj.merged(), self.k_proj.merged(), self.o_proj.merged(), dim=self.dim, rotary=True
        )


class Mlp(nn.Module):
    def __init__(self, config):
        super().__init__()
        width, inner = config["hidden_size"], config["intermediate_size"]
        self.gate_proj, self.up_proj = Linear(width, inner, bias=False), Linear(width, inner, bias=False)
        self.down_proj = Linear(inner, width, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
