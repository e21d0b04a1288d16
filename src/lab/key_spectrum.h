// key_spectrum: how many numbers a key really takes, from the variances along its principal directions.
#pragma once

#include <span>

namespace lowkey {

// Entropy of the spectrum, as a share of the most it can be: -sum(p log p) / log(D) of the shares p that each of the D
// variances has of all: 0 when one direction says everything, 1 when all say the same. 1 for D = 1 and for a spectrum
// of zeros. variances: >= 0.
double entropy_share(std::span<const float> variances) noexcept;

// exp of the entropy before its division by log(D): as many directions of equal variance have the same (Roy & Vetterli
// 2007). 1 to D.
double effective_rank(std::span<const float> variances) noexcept;

// The part of all variance that the first n directions hold.
double share_held(std::span<const float> variances, int n) noexcept;

}  // namespace lowkey
