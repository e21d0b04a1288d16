#include "ops/add_softmax.h"

#include <algorithm>
#include <cmath>

namespace lowkey::ref {

void add_softmax(float* scores, int64_t count, float weight, float* mass) noexcept {
  const double max = *std::max_element(scores, scores + count);
  double sum = 0;
  for (int64_t t = 0; t < count; ++t) sum += std::exp2(scores[t] - max);
  for (int64_t t = 0; t < count; ++t) mass[t] += static_cast<float>(weight * std::exp2(scores[t] - max) / sum);
}

}  // namespace lowkey::ref
