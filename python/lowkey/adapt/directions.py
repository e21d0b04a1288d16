"""The directions of form=factor, and how they follow the text (src/attention/atp_factor.cc)."""
import torch

from .svd import full_precision

LOSES_MORE = 1.1  # times the share that was lost of the text so far: then the basis is fitted anew


class Directions:
    """Those of every text of a batch, [B, R, N] in `rows`."""

    def __init__(self, fit):
        self.fit = fit  # (x [B, T, N], R, start) -> directions [B, R, N], lengths [B, R]
        self.rows = self.lengths = None
        self.energy = self.held = 0

    @torch.no_grad()
    @full_precision()
    def follow(self, x, rank):
        """Brings in the next tokens, x [B, n, N]. Gives what turns z of older ones, [B, R, R_old]; None: nothing."""
        energy = _squares(x)
        before, self.energy = self.energy, self.energy + energy
        if self.rows is None:
            self._set(*self.fit(x, rank, None))
            return None
        z = x @ self.rows.mT
        held = _squares(z)
        stays = energy - held <= LOSES_MORE * energy * (1 - self.held / before).clamp(min=0)
        held_then = self.held + held
        grown = (self.lengths.square() + z.square().sum(1)).sqrt()
        if stays.all():
            self.held, self.lengths = held_then, grown
            return None
        old = self.rows
        stack = torch.cat((self.lengths[..., None] * old, x), 1)
        rows, lengths = self.fit(stack, rank, old)
        if stays.any():  # texts of the batch differ
            most = max(old.shape[1], rows.shape[1])
            rows = torch.where(stays[:, None, None], _padded(old, most), _padded(rows, most))
            lengths = torch.where(stays[:, None], _padded(grown, most), _padded(lengths, most))
        self._set(rows, lengths)
        self.held = torch.where(stays, held_then, self.held)
        return rows @ old.mT

    def _set(self, rows, lengths):
        self.rows, self.lengths = rows, lengths
        self.held = lengths.double().square().sum(1)


def _squares(x):
    return x.double().square().sum((1, 2))


def _padded(a, rows):
    return torch.cat((a, a.new_zeros(a.shape[0], rows - a.shape[1], *a.shape[2:])), 1)
