// The authors' algorithm of truncated_svd: one pair of vectors after another.
#pragma once

#include <cstdint>

#include "base/context.h"
#include "base/view.h"

namespace lowkey {

struct RankOneSteps {
  View residual;     // [T, C] f32: X, changed to what is left of it
  View rows;         // [N, C] f32: what each v begins from, and out the v themselves
  int iterations;    // turns of a pair, at most
  double tolerance;  // ends them when the share of |residual|^2 that the pair holds grows by no more
  double nothing;    // |residual|^2 below which there is nothing more to find
};

struct RankOneResult {
  int64_t rows = 0;   // found
  int64_t turns = 0;  // in sum
};

// The row of x [T, C] that has the greatest length, the first of equals: no direction of x begins from nothing there.
const float* longest_row(View x) noexcept;

RankOneResult rank_one_steps(const Context&, const RankOneSteps&);

}  // namespace lowkey
