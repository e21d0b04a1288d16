// content_covariance: how keys after RoPE vary around the place that their position gives them.
//
// A key after RoPE at position p is R_p k, and its mean R_p m turns with p: over a text, that turning is much of the
// variance of keys, and says where a key stands, not what it holds. What remains, R_p (k - m), has on average over the
// positions the covariance computed here from that before RoPE. It takes keys and their positions as independent.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace lowkey {

// pre: [D, D] covariance before RoPE, in the half layout; inverse_frequency: [R / 2] of the first R coordinates;
// positions [first, end).
// Returns [D, D]. Throws kInvalidArgument when the sizes disagree or there are no positions.
std::vector<double> content_covariance(std::span<const double> pre, std::span<const float> inverse_frequency,
                                       int64_t first, int64_t end);

}  // namespace lowkey
