#include "ops/softmax.h"

#include <algorithm>
#include <cmath>

namespace lowkey::ref {

void softmax(const SoftmaxArgs& a) noexcept {
  const int64_t columns = a.x.columns();
  for (int64_t r = 0; r < a.x.rows(); ++r) {
    float* x = a.x.f32_row(r);
    const double peak = *std::max_element(x, x + columns);
    double sum = 0;
    for (int64_t c = 0; c < columns; ++c) sum += std::exp((x[c] - peak) / a.temperature);
    for (int64_t c = 0; c < columns; ++c) x[c] = static_cast<float>(std::exp((x[c] - peak) / a.temperature) / sum);
  }
}

void logsumexp(View x, View out) noexcept {
  const int64_t columns = x.columns();
  for (int64_t r = 0; r < x.rows(); ++r) {
    const float* row = x.f32_row(r);
    const double peak = *std::max_element(row, row + columns);
    double sum = 0;
    for (int64_t c = 0; c < columns; ++c) sum += std::exp(row[c] - peak);
    out.f32()[r] = static_cast<float>(peak + std::log(sum));
  }
}

}  // namespace lowkey::ref
