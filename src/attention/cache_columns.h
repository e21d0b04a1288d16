// cache_columns: what the cache holds of some tokens, as f32 and transposed: a row for each number of a token's K and
// V, tokens along it, as products over tokens need them.
#pragma once

#include "base/context.h"
#include "base/view.h"
#include "ops/kv_pages.h"

namespace lowkey {

struct CacheColumnsArgs {
  const KvPages& kv;
  int first_head;  // of KH; as many heads as out has rows for
  int64_t begin;   // rows [begin, begin + T) of the cache
  View out;        // [heads * 2 D, T] f32
};

void cache_columns(const Context&, const CacheColumnsArgs&);

}  // namespace lowkey
