// The door of the operations on key columns: checks the cache's plane for them.
#pragma once

#include <string_view>

#include "ops/key_columns.h"

namespace lowkey {

// Throws kInvalidArgument or kUnsupported, the message starting with "[op]". Checks kv itself too.
void check_columns(std::string_view op, const KvPages& kv, int plane);

}  // namespace lowkey
