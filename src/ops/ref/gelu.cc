#include "ops/gelu.h"

#include <cmath>
#include <numbers>

namespace lowkey::ref {

void gelu(const GeluArgs& a) noexcept {
  for (int64_t i = 0; i < a.x.elements(); ++i) {
    const double x = a.x.f32()[i], up = a.up ? a.up.f32()[i] : 1;
    const double z = std::numbers::sqrt2 * std::numbers::inv_sqrtpi * (x + 0.044715 * x * x * x);
    a.out.f32()[i] =
        static_cast<float>(up * (a.tanh ? x / (1 + std::exp(-2 * z)) : 0.5 * x * std::erfc(-x / std::numbers::sqrt2)));
  }
}

}  // namespace lowkey::ref
