// transpose: out[c][t] = x[t][c].
#pragma once

#include "base/context.h"
#include "base/view.h"

namespace lowkey {

struct TransposeArgs {
  View x;    // [T, C] f32
  View out;  // [C, T] f32; must not overlap x
};

// Throws kInvalidArgument.
void transpose(const Context&, const TransposeArgs&);

}  // namespace lowkey
