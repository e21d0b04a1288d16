// add: x += y, elementwise: the residual stream; or the same row to every row: the bias of a linear layer.
#pragma once

#include "base/context.h"
#include "base/view.h"

namespace lowkey {

struct AddArgs {
  View x;  // [T, C] f32, changed in place
  View y;  // [T, C] f32, or [C]: added to each row
};

void add(const Context&, const AddArgs&);

}  // namespace lowkey
