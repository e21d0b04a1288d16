// add_softmax: mass += weight * softmax(scores), what a query head's attention gives to each token (H2O's score).
#pragma once

#include <cstdint>

namespace lowkey {

// scores: [count] f32 in units of log2 (score_keys.h), overwritten; mass: [count], added to. count >= 1.
void add_softmax(float* scores, int64_t count, float weight, float* mass) noexcept;

namespace ref {
void add_softmax(float* scores, int64_t count, float weight, float* mass) noexcept;
}

}  // namespace lowkey
