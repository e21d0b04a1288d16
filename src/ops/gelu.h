// gelu: out = x Phi(x), elementwise, Phi the distribution function of the normal distribution (Hendrycks & Gimpel
// 2016): the exact form, with erf, not the one with tanh.
#pragma once

#include "base/context.h"
#include "base/view.h"

namespace lowkey {

struct GeluArgs {
  View x;    // [T, F] f32
  View out;  // [T, F] f32; may be x itself
};

// Relative error at most (10 + x^2) 2^-24, of values above 1e-36.
void gelu(const Context&, const GeluArgs&);

namespace ref {
void gelu(const GeluArgs&) noexcept;
}

}  // namespace lowkey
