// bound_rows: the least and the greatest of a run of cached keys, coordinate by coordinate.
#pragma once

#include "ops/kv_pages.h"

namespace lowkey {

// Tokens [begin, end) of a KV head, begin < end. out: [min: D | max: D] of the cache's type.
void bound_rows(const KvPages& kv, int head, int64_t begin, int64_t end, std::byte* out) noexcept;

}  // namespace lowkey
