// index_append: encodes the keys of new tokens into the index plane of the cache (key_index.h).
#pragma once

#include "base/context.h"
#include "ops/key_index.h"
#include "ops/kv_pages.h"

namespace lowkey {

struct IndexAppendArgs {
  const KeyIndex& index;
  View k;      // [T, KH, D] f32, rotated by position
  KvPages kv;  // length already counts the T new tokens, which become its last ones
  int plane;   // which plane of kv holds the index
};

// Throws kInvalidArgument. Does not touch the codes of other tokens.
void index_append(const Context&, const IndexAppendArgs&);

namespace ref {
void index_append(const IndexAppendArgs&) noexcept;
}

}  // namespace lowkey
