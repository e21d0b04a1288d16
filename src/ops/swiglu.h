// swiglu: out = silu(gate) * up, elementwise; silu(x) = x / (1 + exp(-x)) (Shazeer 2020).
#pragma once

#include "base/context.h"
#include "base/view.h"

namespace lowkey {

struct SwigluArgs {
  View gate;  // [T, F] f32
  View up;    // [T, F] f32
  View out;   // [T, F] f32; may be gate or up itself
};

void swiglu(const Context&, const SwigluArgs&);

namespace ref {
void swiglu(const SwigluArgs&) noexcept;
}

}  // namespace lowkey
