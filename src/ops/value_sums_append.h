// value_sums_append: the sums of the pages that new tokens begin (value_sums.h).
#pragma once

#include "base/context.h"
#include "ops/value_sums.h"

namespace lowkey {

struct ValueSumsAppendArgs {
  KvPages kv;      // length already counts the new tokens, whose values are stored
  int64_t tokens;  // T of them
  int plane;
};

// Throws kInvalidArgument. The result does not depend on how the tokens came, in one piece or many.
void value_sums_append(const Context&, const ValueSumsAppendArgs&);

namespace ref {
void value_sums_append(const ValueSumsAppendArgs&) noexcept;  // from all values before, in f64
}

}  // namespace lowkey
