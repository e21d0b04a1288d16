#include "ops/layernorm.h"

#include <cmath>

namespace lowkey::ref {

void layernorm(const LayernormArgs& a) noexcept {
  const int64_t columns = a.x.columns();
  const auto n = static_cast<double>(columns);
  for (int64_t t = 0; t < a.x.rows(); ++t) {
    const float* x = a.x.f32_row(t);
    double sum = 0, squares = 0;
    for (int64_t c = 0; c < columns; ++c) sum += x[c];
    const double mean = sum / n;
    for (int64_t c = 0; c < columns; ++c) squares += (x[c] - mean) * (x[c] - mean);
    const double scale = 1 / std::sqrt(squares / n + a.eps);
    for (int64_t c = 0; c < columns; ++c)
      a.out.f32_row(t)[c] = static_cast<float>((x[c] - mean) * scale * a.gain.f32()[c] + a.bias.f32()[c]);
  }
}

}  // namespace lowkey::ref
