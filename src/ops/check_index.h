// The door of the operations on a key index: checks it and the cache's plane for it.
#pragma once

#include <string_view>

#include "ops/key_index.h"
#include "ops/kv_pages.h"

namespace lowkey {

// Throws kInvalidArgument or kUnsupported, the message starting with "[op]". Checks kv itself too.
void check_index(std::string_view op, const KeyIndex& index, const KvPages& kv, int plane);

}  // namespace lowkey
