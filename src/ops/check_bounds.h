// The door of the operations on key bounds: checks them and the cache's plane for them.
#pragma once

#include <string_view>

#include "ops/key_bounds.h"

namespace lowkey {

// Throws kInvalidArgument or kUnsupported, the message starting with "[op]". Checks kv itself too.
void check_bounds(std::string_view op, const KeyBounds& bounds, const KvPages& kv);

}  // namespace lowkey
