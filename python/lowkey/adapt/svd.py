"""Truncated SVD by block subspace iteration, as the C++ engine has it (src/linalg/truncated_svd.cc), from the same
rows: what is found is the same to rounding.

Everything here is without gradient: a basis is data that the loss is not asked about. Its derivative has a pole
wherever two singular values meet, and what training must learn (weights that do well with the basis that their inputs
have) it learns without.
"""
import contextlib

import torch

from .sketch import signs

OVERSAMPLE, NOTHING = 8, 1e-6


@contextlib.contextmanager
def full_precision():
    """Products in f32, also where training allows TF32."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


@torch.no_grad()
@full_precision()
def truncated_svd(x, rank, start=None, turns=2, ritz=True):
    """x [B, T, C] -> directions [B, R, C] with orthonormal rows, spectrum [B, R] descending. start: [B, N, C].

    Directions with singular values below 1e-6 of the largest are none: R is what the text of the batch has that has
    most, and the others' rows end in zeros. Signs: the sum of coefficients is >= 0. Without `ritz` the first rows of
    the iteration are taken as they are: nearly the same space, at a small part of the time of eigenvectors on a GPU.
    """
    x = x.float()
    span = orthonormal_rows(_first_rows(x, min(x.shape[1], x.shape[2], rank + OVERSAMPLE), start))
    for _ in range(turns):
        span = orthonormal_rows((x @ span.mT).mT @ x)
    if not ritz:
        span = span[:, :rank]
        return span, (x @ span.mT).norm(dim=1)
    within = (x @ span.mT).double()
    values, vectors = torch.linalg.eigh(within.mT @ within)
    spectrum = values.flip(-1)[:, :rank].clamp(min=0).sqrt()
    found = spectrum > NOTHING * spectrum[:, :1]
    most = int(found.sum(1).max())
    spectrum = (spectrum * found)[:, :most]
    directions = (vectors.flip(-1)[..., :most].mT @ span.double()).float() * found[:, :most, None]
    sums = (x @ directions.mT).double().sum(1)
    return directions * torch.where(sums < 0, -1.0, 1.0)[..., None].float(), spectrum.float()


def _first_rows(x, rows, start):
    """[B, rows, C]. Where they are as many as the rows or columns of x, they are what spans all of it."""
    if rows == x.shape[2]:
        return torch.eye(rows, device=x.device).expand(x.shape[0], rows, rows)
    if rows == x.shape[1]:
        return x
    given = [] if start is None else [start[:, :rows]]
    left = rows - sum(part.shape[1] for part in given)
    return torch.cat([*given, sketch(x, left)], 1) if left else given[0]


def sketch(x, rows):
    """[B, rows, C] sums with random signs; where they cancel the longest row of x is the first."""
    sums = signs(rows, x.shape[1]).to(x.device) @ x
    longest = x.double().square().sum(2).argmax(1)
    instead = torch.zeros_like(sums)
    instead[:, 0] = x[torch.arange(len(x), device=x.device), longest]
    return torch.where((sums == 0).all(2).all(1)[:, None, None], instead, sums)


def orthonormal_rows(rows):
    """CholeskyQR in f64, twice. Rows that depend on those before become arbitrary ones of no weight; zeros stay."""
    for _ in range(2):
        exact = rows.double()
        products = exact @ exact.mT
        diagonal = products.diagonal(dim1=-2, dim2=-1)
        floor = 1e-10 * diagonal + 1e-300
        lower, _ = torch.linalg.cholesky_ex(products + torch.diag_embed(floor))
        rows = torch.linalg.solve_triangular(lower, exact, upper=False).float()
    return rows
