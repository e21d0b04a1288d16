"""Parts that models share: a linear layer that may carry LoRA, and rotary positions."""
import math

import torch
import torch.nn.functional as F
from torch import nn

from .metric import Metric


class Linear(nn.Module):
    """y = x W^T (+ b), and with LoRA, x (W + B A s)^T. Parameters are named as in Hugging Face folders."""

    def __init__(self, inputs, outputs, bias):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.lora_a = self.lora_b = None
        self.lora_scale = 1.0

    def add_lora(self, rank, scale=1.0):
        """Starts as no change: B is zeros."""
        outputs, inputs = self.weight.shape
        a = torch.randn(rank, inputs) / math.sqrt(inputs)
        self.lora_a = nn.Parameter(a.to(self.weight.device))
        self.lora_b = nn.Parameter(torch.zeros(outputs, rank, device=self.weight.device))
        self.lora_scale = scale

    def forward(self, x):
        y = F.linear(x, self.weight.to(x.dtype))
        if self.lora_a is not None:
            y = y + self.lora_scale * F.linear(F.linear(x, self.lora_a.to(x.dtype)), self.lora_b.to(x.dtype))
        return y if self.bias is None else y + self.bias.to(y.dtype)

    def merged(self):
        """The weight with its LoRA, without gradient."""
        if self.lora_a is None:
            return self.weight.detach()
        return self.weight.detach() + self.lora_scale * (self.lora_b.detach() @ self.lora_a.detach())

    def merge_lora(self):
        self.weight.data = self.merged()
        self.lora_a = self.lora_b = None


class MetricCache:
    """The metric of a layer's weights; in training not of every step, as they change slowly."""

    EVERY = 16

    def __init__(self, weights):
        self.weights, self.made, self.calls = weights, None, 0

    def get(self, kind, training):
        self.calls += 1
        if self.made is None or not training or self.calls % self.EVERY == 0:
            self.made = Metric(self.weights(), kind)
        return self.made


def heads(x, dim):
    """[B, T, H D] -> [B, H, T, D]"""
    return x.view(*x.shape[:2], -1, dim).transpose(1, 2)


def inverse_frequencies(config):
    """[D / 2], with Llama 3's and linear scaling, as src/model/config.cc has them."""
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    base = rope.get("rope_theta", config.get("rope_theta", 10000.0))
    kind = rope.get("rope_type", rope.get("type", "default"))
    dim = head_dim(config)
    f = base ** (-torch.arange(0, dim, 2, dtype=torch.float64) / dim)
    if kind == "linear":
        f = f / rope["factor"]
    elif kind == "llama3":
        turns = rope.get("original_max_position_embeddings", 8192) * f / (2 * math.pi)
        low, high = rope.get("low_freq_factor", 1.0), rope.get("high_freq_factor", 4.0)
        keep = ((turns - low) / (high - low)).clamp(0, 1)
        f = keep * f + (1 - keep) * f / rope["factor"]
    elif kind != "default":
        raise ValueError(f"config.json: rope_type '{kind}', must be default, linear or llama3")
    return f.float()


def head_dim(config):
    return config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]


def rotate(x, cos, sin):
    """x [B, H, T, D], cos and sin [T, D / 2]: the two halves of D are the pairs."""
    low, high = x.float().chunk(2, -1)
    return torch.cat((low * cos - high * sin, high * cos + low * sin), -1).to(x.dtype)
