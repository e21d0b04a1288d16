// Uniform quantisers of a Gaussian number, and how a few bits are shared among many numbers.
#pragma once

#include <span>
#include <vector>

namespace lowkey {

inline constexpr int kMaxBits = 8;

// The step, in standard deviations, of the uniform quantiser with 2^bits levels about zero that a Gaussian number
// loses least by, and what it then loses: the mean squared error, in variances (Max, "Quantizing for minimum
// distortion", 1960). bits: 0 to kMaxBits; none lose all.
double gaussian_step(int bits);
double gaussian_distortion(int bits);

// Shares `total` bits among numbers with these variances so that the sum of their errors is least (reverse
// water-filling with whole bits: each in turn goes where it saves most). Weigh a variance to weigh its error. Throws
// kInvalidArgument (a total that does not fit, a variance that is negative or NaN).
std::vector<int> allocate_bits(std::span<const double> variances, int total, int most = kMaxBits);

}  // namespace lowkey
