// How many directions a spectrum really has. All take singular values, descending, >= 0.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/view.h"

namespace lowkey {

// The singular values of x [T, C] f32 without vectors, min(T, C) of them, in f64. Throws kInvalidArgument (shape, NaN).
std::vector<double> singular_values(View x);
// The same from products: x^T x, [C, C]. Throws kInvalidArgument (no square, NaN).
std::vector<double> singular_values(std::span<const double> products);

// ATP's measure, mu = -log2 sum_j (s_j / sum s)^2: 0 for one direction, log2 n for n equal ones. 0 for zeros.
double svd_entropy(std::span<const double> singular_values);

// The directions that the entropy asks for: ceil(2^mu). They hold 97 % of the energy of a geometric spectrum, not of
// any: 91 % of 1 / sqrt(i).
int entropy_rank(std::span<const double> singular_values);

// The fewest directions that hold this share of the energy, sum s^2.
int energy_rank(std::span<const double> singular_values, double share);

}  // namespace lowkey
