// soft_cap: x becomes cap tanh(x / cap), elementwise, in place: about x where it is small, never beyond cap (Gemma-2).
#pragma once

#include "base/context.h"
#include "base/view.h"

namespace lowkey {

struct SoftCapArgs {
  View x;     // [N, V] f32
  float cap;  // > 0
};

// Relative error at most 2^-20. Attention kernels do the same to scores (attention_decode.h).
void soft_cap(const Context&, const SoftCapArgs&);

namespace ref {
void soft_cap(const SoftCapArgs&) noexcept;
}

}  // namespace lowkey
