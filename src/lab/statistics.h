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

struct Interval {
  double low = 0, high = 0;
};

// The 95 % interval of the weighted mean of observations by bootstrap: they are drawn again and again, with
// replacement, and always in the same way. Few observations drawn again vary less than new ones would: the percentiles
// are those that Student's t asks for (Hesterberg 2015, the expanded percentile interval). Needs no symmetry: of a
// function of the mean that rises it is the function of the interval. Infinite for a single observation. weights:
// positive, or none for equal ones. Throws kInvalidArgument (no observations, another number of weights).
Interval bootstrap(std::span<const double> observations, std::span<const double> weights = {});

// Of timings: what counts, and how far from it the others lie.
struct Spread {
  double median = 0, least = 0, most = 0;
};
// The median of an even number is the upper one of the two in the middle. Throws kInvalidArgument (no observations).
Spread spread(std::span<const double> observations);

// The 97.5 % point of Student's t distribution, within 0.002. freedom >= 1.
double student_t(int64_t freedom) noexcept;

}  // namespace lowkey
