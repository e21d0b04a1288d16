// columns_append: copies the keys of new tokens from the cache into their columns (key_columns.h).
#pragma once

#include "base/context.h"
#include "ops/key_columns.h"

namespace lowkey {

struct ColumnsAppendArgs {
  KvPages kv;      // length already counts the new tokens, whose keys are stored
  int64_t tokens;  // T of them
  int plane;
};

// Throws kInvalidArgument. Does not touch other tokens.
void columns_append(const Context&, const ColumnsAppendArgs&);

namespace ref {
void columns_append(const ColumnsAppendArgs&) noexcept;
}

}  // namespace lowkey
