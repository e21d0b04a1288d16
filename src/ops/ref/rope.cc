#include "ops/rope.h"

#include <cmath>

namespace lowkey::ref {

void rope(const RopeArgs& a) noexcept {
  const int64_t tokens = a.x.dim(0), heads = a.x.dim(1), half = a.inverse_frequency.columns();
  const bool split = a.layout == RopeLayout::kHalf;
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t h = 0; h < heads; ++h) {
      float* x = a.x.f32_row(t * heads + h);
      for (int64_t i = 0; i < half; ++i) {
        const double angle = double{a.inverse_frequency.f32()[i]} * a.positions[static_cast<size_t>(t)];
        float& first = x[split ? i : 2 * i];
        float& second = x[split ? i + half : 2 * i + 1];
        const double u = double{first} * a.amplitude, w = double{second} * a.amplitude;
        first = static_cast<float>(u * std::cos(angle) - w * std::sin(angle));
        second = static_cast<float>(w * std::cos(angle) + u * std::sin(angle));
      }
    }
  }
}

}  // namespace lowkey::ref
