#include "ops/soft_cap.h"

#include <cmath>

namespace lowkey::ref {

void soft_cap(const SoftCapArgs& a) noexcept {
  for (int64_t i = 0; i < a.x.elements(); ++i) {
    float& x = a.x.f32()[i];
    x = static_cast<float>(a.cap * std::tanh(double{x} / a.cap));
  }
}

}  // namespace lowkey::ref
