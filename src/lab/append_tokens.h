// append_tokens: the last T tokens of a sequence, in one layer, as a forward pass would append them: for caches that
// are filled without one.
#pragma once

#include "attention/method.h"
#include "kv/cache.h"

namespace lowkey {

struct AppendTokensArgs {
  const AttentionShape& shape;
  const KvPages& kv;  // its length counts the T tokens
  int layer;
  View k, v;  // [T, KH, D] f32, rotated by position
};

// Throws kInvalidArgument, as the method's append() does.
void append_tokens(const Context&, const Method&, const AppendTokensArgs&);

}  // namespace lowkey
