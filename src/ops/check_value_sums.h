// The door of the operations on value sums: checks the cache's plane for them.
#pragma once

#include <string_view>

#include "ops/value_sums.h"

namespace lowkey {

// Throws kInvalidArgument or kUnsupported, the message starting with "[op]". Checks kv itself too.
void check_value_sums(std::string_view op, const KvPages& kv, int plane);

}  // namespace lowkey
