// The door of every operation that takes a cache: checks a KvPages' own consistency.
#pragma once

#include <string_view>

#include "ops/kv_pages.h"

namespace lowkey {

// Throws kInvalidArgument or kUnsupported, the message starting with "[op]". Page ids are trusted: only kv/ makes them.
void check_kv(std::string_view op, const KvPages& kv);
// As check_kv, for operations that read numbers of the cache as they lie: kI8 and kI8I4, whose rows have scales, are
// refused.
void check_float_kv(std::string_view op, const KvPages& kv);

}  // namespace lowkey
