#include "ops/swiglu.h"

#include <cmath>

namespace lowkey::ref {

void swiglu(const SwigluArgs& a) noexcept {
  for (int64_t i = 0; i < a.gate.elements(); ++i) {
    const double gate = a.gate.f32()[i];
    a.out.f32()[i] = static_cast<float>(gate / (1 + std::exp(-gate)) * a.up.f32()[i]);
  }
}

}  // namespace lowkey::ref
