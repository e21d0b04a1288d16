// group_keys: from the scores of one KV head's query heads to one key per token, what selection ranks by:
// key(t) = max over the heads of log2 softmax_t. Raw scores of different heads cannot be compared; probabilities can
// (softmax per head, then the maximum over the group).
#pragma once

#include <cstdint>

namespace lowkey {

// scores: [heads, stride] f32 in units of log2; keys: out [count]. count >= 1, heads >= 1.
// `keys` may be the first row of `scores`.
void group_keys(const float* scores, int heads, int64_t stride, int64_t count, float* keys) noexcept;

// log2 of the sum of 2^x over x: [count], count >= 1: a head's normaliser.
float log2_sum(const float* x, int64_t count) noexcept;

namespace ref {
void group_keys(const float* scores, int heads, int64_t stride, int64_t count, float* keys) noexcept;
float log2_sum(const float* x, int64_t count) noexcept;
}  // namespace ref

}  // namespace lowkey
