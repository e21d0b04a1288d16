#include "ops/rmsnorm.h"

#include <cmath>

namespace lowkey::ref {

void rmsnorm(const RmsnormArgs& a) noexcept {
  const int64_t columns = a.x.columns();
  for (int64_t t = 0; t < a.x.rows(); ++t) {
    const float* x = a.x.f32_row(t);
    double squares = 0;
    for (int64_t c = 0; c < columns; ++c) squares += double{x[c]} * x[c];
    const double scale = 1 / std::sqrt(squares / static_cast<double>(columns) + a.eps);
    for (int64_t c = 0; c < columns; ++c) a.out.f32_row(t)[c] = static_cast<float>(x[c] * scale * a.gain.f32()[c]);
  }
}

}  // namespace lowkey::ref
