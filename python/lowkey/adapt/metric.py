"""The metric of form=factor: what an error of a key or value moves at the layer's output (src/attention/atp_metric.h).

M is in blocks [D, D], one for the keys and one for the values of each KV head. What of it follows from the weights is
made once; each text scales the blocks by its own first tokens.
"""
from dataclasses import dataclass

import torch

LEAST = 1e-4  # of a block's mean eigenvalue: smaller ones are raised to it
KEYS_SHARE = 0.5  # of what follows for keys from values about their mean


@dataclass
class Weights:
    """q [H D, C], k [KH D, C], o [C, H D] of a layer; rotary: whether positions turn keys."""

    q: torch.Tensor
    k: torch.Tensor
    o: torch.Tensor
    dim: int
    rotary: bool


class Metric:
    @torch.no_grad()
    def __init__(self, weights, kind):
        dim = weights.dim
        self.dim, self.pairs = dim, len(weights.k) // dim
        self.key_size = weights.k.double().square().sum()
        if kind == "energy":
            self.moments = torch.eye(dim, dtype=torch.float64, device=weights.k.device).repeat(2 * self.pairs, 1, 1)
        else:
            self.moments = torch.cat((_query_moments(weights, self.pairs), _output_moments(weights, self.pairs)))
        self.weighted = kind == "output"
        values, vectors = torch.linalg.eigh(self.moments)
        least = (LEAST * values.mean(-1, keepdim=True)).clamp(min=1e-38)
        roots = torch.maximum(values, least).sqrt()[:, None]
        self.root = ((vectors * roots) @ vectors.mT).float()
        self.inverse = ((vectors / roots) @ vectors.mT).float()

    @torch.no_grad()
    def scales(self, y, mean):
        """y [B, n, N] -> [B, 2 KH]: the square roots of what this text's blocks are times those of the weights."""
        centred = (y - mean[:, None]).unflatten(2, (-1, self.dim)).transpose(1, 2).double()  # [B, 2 KH, n, D]
        cost = ((centred @ self.moments) * centred).sum((2, 3)) / y.shape[1]
        size = torch.ones_like(cost)
        if self.weighted:
            half = y.shape[2] // 2
            inputs = y[..., :half].double().square().sum((1, 2)) / y.shape[1] / self.key_size
            size[:, : self.pairs] = KEYS_SHARE * inputs[:, None] * cost[:, self.pairs :] / self.dim
        return (size * (y.shape[2] / (cost * size).sum(1, keepdim=True))).sqrt().float()

    def times(self, rows, blocks, scales):
        """rows [B, R, N], each block times its matrix and its text's scale."""
        out = rows.unflatten(2, (-1, self.dim)).transpose(1, 2) @ blocks * scales[..., None, None]
        return out.transpose(1, 2).flatten(2)


def _query_moments(weights, pairs):
    rows = weights.q.double().unflatten(0, (pairs, -1, weights.dim))  # [KH, group, D, C]
    moments = (rows @ rows.mT).mean(1)
    if not weights.rotary:
        return moments
    low, high = moments.diagonal(dim1=1, dim2=2).chunk(2, -1)
    return torch.diag_embed(((low + high) / 2).repeat(1, 2))


def _output_moments(weights, pairs):
    columns = weights.o.double().mT.unflatten(0, (pairs, -1, weights.dim))  # [KH, group, D, C]
    return (columns @ columns.mT).mean(1)
