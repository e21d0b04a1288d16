// add: x += y, elementwise: the residual stream.
#pragma once

#include "base/context.h"
#include "base/view.h"

namespace lowkey {

struct AddArgs {
  View x;  // [T, C] f32, changed in place
  View y;  // [T, C] f32
};

void add(const Context&, const AddArgs&);

}  // namespace lowkey
