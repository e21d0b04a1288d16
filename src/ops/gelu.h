// gelu: out = x Phi(x), elementwise, Phi the distribution function of the normal distribution (Hendrycks & Gimpel
// 2016): the exact form, with erf, or the one with tanh, x / (1 + exp(-2 z)) with z = sqrt(2 / pi) (x + 0.044715 x^3).
// With `up` it is multiplied by that: GeGLU (Shazeer 2020).
#pragma once

#include "base/context.h"
#include "base/view.h"

namespace lowkey {

struct GeluArgs {
  View x;             // [T, F] f32
  View out;           // [T, F] f32; may be x itself, or up
  bool tanh = false;  // which form
  View up = {};       // [T, F] f32, or none
};

// Relative error at most (10 + x^2) 2^-24, with tanh (12 + 2 |z|) 2^-24, of values above 1e-36.
void gelu(const Context&, const GeluArgs&);

namespace ref {
void gelu(const GeluArgs&) noexcept;
}

}  // namespace lowkey
