"""Attention of one layer, dense or by a form of ATP: q [B, H, T, D], k and v [B, KH, T, D] as the cache would hold them
(after RoPE), x [B, T, C] the layer's inputs. All texts of a batch have one length, so nothing is padded.

Gradients flow through keys, values and coefficients; directions are constants (svd.py says why).
"""
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch.nn.attention.bias import causal_lower_right

from .directions import Directions
from .layers import heads
from .packed import packed
from .svd import truncated_svd


@dataclass
class LayerInputs:
    """What a form may ask of its layer."""

    x: torch.Tensor
    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor
    plain: tuple  # k and v as [B, T, KH D], keys before RoPE
    rebuilt: Callable  # k and v like `plain` [B, n, KH D], position of the first -> like k and v
    metric: Callable  # of form=factor
    linear: tuple  # of encoders: what makes q, k and v [B, T, H D] of x
    causal: bool
    training: bool
    lost: list | None  # of form=factor, in training, where asked for: the share that each shortening has lost


def attend(spec, layer):
    """[B, H, T, D]. spec: None for dense."""
    if spec is None:
        return exact(layer.q, layer.k, layer.v, layer.causal)
    form = {"factor": Factor, "softmax": PrincipalKeys, "linear": Moments}[spec.form](spec, layer)
    out, done = [], 0
    for begin, end, due in spec.pieces(layer.q.shape[2]):
        if due > done:
            form.shorten(done, due)
        done = due
        out.append(form.read(begin, end, due))
    return torch.cat(out, 2)


def exact(q, k, v, causal):
    """Softmax over all keys; causal: the last query reads all of them, the one before all but the last."""
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    if not causal:
        return F.scaled_dot_product_attention(q, k, v)
    if q.shape[2] == k.shape[2]:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=causal_lower_right(q.shape[2], k.shape[2]))


class Form:
    """Old tokens of a text in short form, beside the exact ones."""

    def __init__(self, spec, layer):
        self.spec, self.layer = spec, layer

    def shorten(self, begin, due):
        """Tokens before `due` from now on; those before `begin` already are. begin = 0: none are."""
        raise NotImplementedError

    def short(self):
        """Rows of keys and values that stand for the old tokens: k, v [B, KH, R, D]."""
        raise NotImplementedError

    def read(self, begin, end, due):
        k, v = self.exact_rows(due, end)
        if due:
            sink, short = self.spec.sink, self.short()
            k, v = (torch.cat((a[:, :, :sink], b, a[:, :, sink:]), 2) for a, b in zip((k, v), short, strict=True))
        return exact(self.layer.q[:, :, begin:end], k, v, self.spec.causal)

    def exact_rows(self, due, end):
        """Keys and values that are not in short form for rows before `end`: the first tokens, and those from `due`."""
        if not due:
            return self.layer.k[:, :, :end], self.layer.v[:, :, :end]
        sink = self.spec.sink
        return (torch.cat((a[:, :, :sink], a[:, :, due:end]), 2) for a in (self.layer.k, self.layer.v))


class Factor(Form):
    """Exact softmax over tokens whose k and v are made again from R numbers a token (src/attention/atp_factor.h)."""

    def __init__(self, spec, layer):
        super().__init__(spec, layer)
        # Only the space counts here, so training can do with less than eigenvectors.
        self.basis = Directions(functools.partial(truncated_svd, ritz=not layer.training))
        self.metric = layer.metric(spec.basis)
        self.z = self.mean = self.scales = None
        self.kv = None

    def shorten(self, begin, due):
        first = max(begin, self.spec.sink)
        y = torch.cat([part[:, first:due].float() for part in self.layer.plain], 2)
        if self.mean is None:
            self.mean = y.detach().mean(1)
            self.scales = self.metric.scales(y.detach(), self.mean)
        y = y - self.mean[:, None]
        with torch.no_grad():
            measured = self.metric.times(y, self.metric.root, self.scales)
            width = self.layer.x.shape[2]
            turn = self.basis.follow(measured, min(self.spec.directions(due - self.spec.sink, width), y.shape[2]))
            aside = min(self.spec.directions(width, width), y.shape[2])
            encoder = self.metric.times(self.basis.rows, self.metric.root, self.scales)
        if self.layer.training and self.layer.lost is not None:
            self.layer.lost.append(self._lost(y))
        z = packed(y @ encoder.mT, self.spec.bits, aside)
        if self.z is not None and turn is None:  # the directions stand: only the new rows are made
            self.z = torch.cat((self.z, z), 1)
            self.kv = tuple(torch.cat(pair, 2) for pair in zip(self.kv, self._made(z, first), strict=True))
            return
        self.z = z if self.z is None else torch.cat((packed(self.z @ turn.mT, self.spec.bits, aside), z), 1)
        self.kv = self._made(self.z, self.spec.sink)

    def _lost(self, y):
        """The share of these rows that the directions do not have. They are the best there are, so their own change
        counts for nothing in its gradient."""
        measured = self.metric.times(y, self.metric.root, self.scales)
        left = measured - (measured @ self.basis.rows.mT) @ self.basis.rows
        return left.square().sum() / measured.detach().square().sum()

    def _made(self, z, first):
        decoder = self.metric.times(self.basis.rows, self.metric.inverse, 1 / self.scales)
        y = (self.mean[:, None] + z @ decoder).to(self.layer.k.dtype)
        return self.layer.rebuilt(*y.chunk(2, -1), first)

    def short(self):
        return self.kv


class PrincipalKeys(Form):
    """Softmax over R principal keys (src/attention/atp_softmax.h)."""

    inputs = mass = k = v = None

    def shorten(self, begin, due):
        sink = self.spec.sink
        first = max(begin, sink)
        rows = self.spec.directions(due - sink, self.layer.x.shape[2])
        if self.spec.linear != "off":
            return self._on_factor(rows)
        across = self._across(self.layer.x[:, first:due].detach().float(), rows)[:, None]  # U^T [B, 1, R, n]
        made = []
        for new, old in ((self.layer.k, self.k), (self.layer.v, self.v)):
            new = new[:, :, first:due].float()
            if old is not None:
                new = torch.cat((math.sqrt(begin - sink) * old, new), 2)
            made.append(across @ new / math.sqrt(due - sink))
        self.k, self.v = made

    @torch.no_grad()
    def _across(self, x, rows):
        mass = x.new_ones(x.shape[:2])
        if self.inputs is not None:
            x, mass = torch.cat((self.inputs, x), 1), torch.cat((self.mass, mass), 1)
        directions, spectrum = truncated_svd(x, rows, self.inputs, turns=1)
        kept = spectrum > 0
        across = (directions @ x.mT) / torch.where(kept, spectrum, 1.0)[..., None]
        sums = (across * mass[:, None]).double().sum(-1)
        sign = torch.where(sums < 0, -1.0, 1.0).float()[..., None]
        self.inputs, self.mass = sign * spectrum[..., None] * directions, sums.abs().float()
        across = sign * across
        if across.shape[1] < rows:  # a text of fewer directions: the other keys are zeros
            short = rows - across.shape[1]
            across, self.inputs = F.pad(across, (0, 0, 0, short)), F.pad(self.inputs, (0, 0, 0, short))
            self.mass = F.pad(self.mass, (0, short))
        return across

    def _on_factor(self, rows):
        """X = U X' before the projections: K' = X' Wk^T, V' = X' Wv^T, queries U (X' Wq^T)."""
        layer = self.layer
        x, scale, dim = layer.x, 1 / math.sqrt(layer.x.shape[1]), layer.q.shape[3]
        directions, spectrum = truncated_svd(x.detach(), rows, turns=1)
        kept = spectrum > 0
        with torch.no_grad():
            across = directions @ x.detach().mT / torch.where(kept, spectrum, 1.0)[..., None]  # U^T [B, R, n]
            principal, sums = spectrum[..., None] * directions, across.sum(-1, keepdim=True)
        # U^T x has the gradient; it is X' only where the directions are exact.
        turned = across @ x
        principal = turned + (principal - turned).detach()
        made = []
        for linear in layer.linear[1:]:
            rest = 0 if linear.bias is None else (sums - 1) * linear.bias
            rows_made = F.pad(scale * (linear(principal) + rest), (0, 0, 0, rows - principal.shape[1]))
            made.append(heads(rows_made, dim))
        self.k, self.v = made
        if self.spec.queries_on_factor(x.shape[1], x.shape[2], directions.shape[1]):
            layer.q = heads(layer.linear[0]((x @ directions.mT) @ directions), dim)

    def short(self):
        return self.k.to(self.layer.k.dtype), self.v.to(self.layer.v.dtype)


class Moments(Form):
    """mean v + q Cov(K, V), weighted as n tokens at the mean of keys (src/attention/atp_linear.h)."""

    count, mean_k, mean_v, covariance = 0, None, None, None

    def shorten(self, begin, due):
        first = max(begin, self.spec.sink)
        k, v = self.layer.k[:, :, first:due].float(), self.layer.v[:, :, first:due].float()
        count = due - first
        mean_k, mean_v = k.mean(2, keepdim=True), v.mean(2, keepdim=True)
        covariance = (k - mean_k).mT @ (v - mean_v) / count
        if self.count:
            share = count / (self.count + count)
            dk, dv = mean_k - self.mean_k, mean_v - self.mean_v
            covariance = (1 - share) * self.covariance + share * covariance + share * (1 - share) * dk.mT @ dv
            mean_k, mean_v = self.mean_k + share * dk, self.mean_v + share * dv
        self.count, self.mean_k, self.mean_v, self.covariance = self.count + count, mean_k, mean_v, covariance

    def read(self, begin, end, due):
        if not due:
            return super().read(begin, end, due)
        layer = self.layer
        q = layer.q[:, :, begin:end].float()
        group, scale = q.shape[1] // layer.k.shape[1], 1 / math.sqrt(q.shape[3])
        k, v = (a.float().repeat_interleave(group, 1) for a in self.exact_rows(due, end))
        mean_k, mean_v, covariance = (
            a.repeat_interleave(group, 1) for a in (self.mean_k, self.mean_v, self.covariance)
        )
        old = scale * (q @ mean_k.mT) + math.log(self.count)  # [B, H, n, 1]
        scores = scale * (q @ k.mT)
        if self.spec.causal:
            hidden = torch.ones(scores.shape[2:], dtype=torch.bool, device=q.device).triu(k.shape[2] - q.shape[2] + 1)
            scores = scores.masked_fill(hidden, -math.inf)
        weights = torch.softmax(torch.cat((old, scores), 3), 3)
        out = weights[..., :1] * (mean_v + scale * (q @ covariance)) + weights[..., 1:] @ v
        return out.to(layer.q.dtype)
