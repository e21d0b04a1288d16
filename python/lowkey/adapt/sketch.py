"""Sums of rows with random signs to begin a factorisation from: the very ones of the C++ engine
(src/linalg/truncated_svd.cc), so that both find the same directions, to rounding."""
import functools

import torch

WORD = (1 << 64) - 1


@functools.lru_cache(maxsize=256)
def signs(sums, rows):
    """[sums, rows] of -1, 0 and 1: each row is in two of the sums (Clarkson and Woodruff 2013)."""
    draws, out, shift = mersenne_twister(1), torch.zeros(sums, rows), 0
    for t in range(rows):
        if t % sums == 0:
            shift = next(draws)
        draw = next(draws)
        first = ((t + shift) & WORD) % sums
        out[first, t] += 1.0 if draw & 1 else -1.0
        if sums > 1:
            out[(first + 1 + (draw >> 8) % (sums - 1)) % sums, t] += 1.0 if draw & 2 else -1.0
    return out


def mersenne_twister(seed):
    """MT19937-64, which C++ calls std::mt19937_64; NumPy has the one of 32 bits only."""
    size, middle = 312, 156
    state = [seed]
    for i in range(1, size):
        state.append((6364136223846793005 * (state[-1] ^ (state[-1] >> 62)) + i) & WORD)
    while True:
        for i in range(size):
            mixed = (state[i] & 0xFFFFFFFF80000000) | (state[(i + 1) % size] & 0x7FFFFFFF)
            state[i] = state[(i + middle) % size] ^ (mixed >> 1) ^ (0xB5026F5AA96619E9 if mixed & 1 else 0)
        for y in state:
            y ^= (y >> 29) & 0x5555555555555555
            y ^= (y << 17) & 0x71D67FFFEDA60000
            y ^= (y << 37) & 0xFFF7EEE000000000
            yield y ^ (y >> 43)
