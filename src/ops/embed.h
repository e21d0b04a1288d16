// embed: rows of the token embedding table, converted to f32.
#pragma once

#include <span>

#include "base/context.h"
#include "base/view.h"

namespace lowkey {

struct EmbedArgs {
  View table;                    // [V, C] any type
  std::span<const int32_t> ids;  // [T]
  View out;                      // [T, C] f32
};

// Throws kInvalidArgument for an id outside [0, V).
void embed(const Context&, const EmbedArgs&);

}  // namespace lowkey
