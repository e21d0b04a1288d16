// statistics: means of windows and how sure they are. The tokens of a window depend on one another, windows of a text
// hardly: so a window counts as one observation, whatever its length.
#pragma once

#include <cstdint>
#include <span>

namespace lowkey {

struct Estimate {
  double mean = 0;
  double error = 0;          // standard error of the mean; NaN for a single observation
  double low = 0, high = 0;  // of the 95 % interval (Student's t); infinite for a single observation
};

// Throws kInvalidArgument when there is nothing to estimate from.
Estimate estimate(std::span<const double> observations);

// The 97.5 % point of Student's t distribution, within 0.002. freedom >= 1.
double student_t(int64_t freedom) noexcept;

}  // namespace lowkey
