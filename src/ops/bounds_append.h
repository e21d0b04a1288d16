// bounds_append: the bounds of the blocks that new tokens complete (key_bounds.h), from the keys in the cache.
#pragma once

#include "base/context.h"
#include "ops/key_bounds.h"

namespace lowkey {

struct BoundsAppendArgs {
  KvPages kv;      // length already counts the new tokens, whose keys are stored
  int64_t tokens;  // T of them
  KeyBounds bounds;
};

// Throws kInvalidArgument.
void bounds_append(const Context&, const BoundsAppendArgs&);

namespace ref {
void bounds_append(const BoundsAppendArgs&) noexcept;
}

}  // namespace lowkey
