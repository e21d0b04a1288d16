#include "ops/group_keys.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace lowkey::ref {

float log2_sum(const float* x, int64_t count) noexcept {
  const double max = *std::max_element(x, x + count);
  double sum = 0;
  for (int64_t t = 0; t < count; ++t) sum += std::exp2(x[t] - max);
  return static_cast<float>(max + std::log2(sum));
}

void group_keys(const float* scores, int heads, int64_t stride, int64_t count, float* keys) noexcept {
  std::fill_n(keys, count, -std::numeric_limits<float>::infinity());
  for (int h = 0; h < heads; ++h) {
    const float* row = scores + h * stride;
    const double max = *std::max_element(row, row + count);
    double sum = 0;
    for (int64_t t = 0; t < count; ++t) sum += std::exp2(row[t] - max);
    const double norm = max + std::log2(sum);
    for (int64_t t = 0; t < count; ++t) keys[t] = std::max(keys[t], static_cast<float>(row[t] - norm));
  }
}

}  // namespace lowkey::ref
