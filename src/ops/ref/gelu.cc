#include "ops/gelu.h"

#include <cmath>
#include <numbers>

namespace lowkey::ref {

void gelu(const GeluArgs& a) noexcept {
  for (int64_t i = 0; i < a.x.elements(); ++i) {
    const double x = a.x.f32()[i];
    a.out.f32()[i] = static_cast<float>(0.5 * x * std::erfc(-x / std::numbers::sqrt2));
  }
}

}  // namespace lowkey::ref
