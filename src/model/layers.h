// What layers are made of: linear maps and norms with their weights.
#pragma once

#include <vector>

#include "base/context.h"
#include "base/view.h"
#include "model/config.h"

namespace lowkey {

struct Linear {
  View weight;              // [N, K]
  std::vector<float> bias;  // [N], or none

  // x: [T, K] -> out [T, N].
  void apply(const Context&, View x, View out) const;
};

struct Norm {
  std::vector<float> gain, bias;  // [C]; no bias: RMSNorm
  float epsilon = 0;

  // out may be x.
  void apply(const Context&, View x, View out) const;
};

}  // namespace lowkey
