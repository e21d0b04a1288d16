// layernorm: y = (x - mean) / sqrt(variance + eps) * gain + bias, per row (Ba, Kiros & Hinton 2016).
#pragma once

#include "base/context.h"
#include "base/view.h"

namespace lowkey {

struct LayernormArgs {
  View x;     // [T, C] f32
  View gain;  // [C] f32
  View bias;  // [C] f32
  float eps;
  View out;  // [T, C] f32; may be x itself
};

void layernorm(const Context&, const LayernormArgs&);

namespace ref {
void layernorm(const LayernormArgs&) noexcept;
}

}  // namespace lowkey
