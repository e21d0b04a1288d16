// rmsnorm: y = x / sqrt(mean(x^2) + eps) * gain, per row (Zhang & Sennrich 2019).
#pragma once

#include "base/context.h"
#include "base/view.h"

namespace lowkey {

struct RmsnormArgs {
  View x;     // [T, C] f32
  View gain;  // [C] f32
  float eps;
  View out;  // [T, C] f32; may be x itself
};

void rmsnorm(const Context&, const RmsnormArgs&);

namespace ref {
void rmsnorm(const RmsnormArgs&) noexcept;
}

}  // namespace lowkey
