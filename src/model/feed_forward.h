// FeedForward: down(act(gate(x)) * up(x)), or down(act(up(x))) without a gate; and Mixture: several of them, of which
// each token goes through a few (Shazeer et al. 2017, as Mixtral and Qwen3 have it).
#pragma once

#include <cstdint>
#include <vector>

#include "base/context.h"
#include "base/view.h"
#include "model/layers.h"

namespace lowkey {

struct FeedForward {
  Activation activation = Activation::kSilu;
  Linear gate;  // [F, C]; without a weight: there is none
  Linear up;    // [F, C]
  Linear down;  // [C, F]

  // x: [T, C] -> out [T, C].
  void apply(const Context&, View x, View out) const;
};

// Where a token goes.
struct Route {
  int32_t expert;
  float weight;  // of its output
};

// For each row of scores [T, E] the `used` highest, ties to the lower number, weighted by the softmax of those alone
// (sum_to_one) or of all. routes: [T, used].
void route(View scores, int used, bool sum_to_one, Route* routes) noexcept;

struct Mixture {
  View router;  // [E, C]
  std::vector<FeedForward> experts;
  int used = 0;
  bool sum_to_one = true;  // the weights of a token's experts

  // An expert's tokens go through it together.
  void apply(const Context&, View x, View out) const;
};

}  // namespace lowkey
