// attention_decode: one query token per sequence against its cached keys and values, all of them or a
// chosen list. Exact softmax. Each K|V row is read once for all query heads of its group (GQA).
//
// Floor: 2 D elements per token and KV head must move; 4 D FLOPs per token and query head.
#pragma once

#include <span>

#include "base/context.h"
#include "base/view.h"
#include "ops/kv_pages.h"

namespace lowkey {

// The tokens to read for one (sequence, KV head).
struct TokenList {
  const int32_t* ids = nullptr;  // [count], ascending, unique, in [0, S); null: all S tokens, or those in the window
  int64_t count = 0;
};

struct AttentionDecodeArgs {
  View q;                             // [B, H, D] f32, rotated; head h reads KV head h / (H / KH)
  std::span<const KvPages> kv;        // [B]; length includes the query's own token
  std::span<const TokenList> tokens;  // [B * KH], or [B * H] (a list for each query head), or empty: all tokens
  float scale;                        // of the scores, usually 1 / sqrt(D)
  View out;                           // [B, H, D] f32
  int64_t window = 0;                 // above 0: without a list only the last so many tokens are read
  float cap = 0;                      // above 0: scores x become cap tanh(x / cap)
};

void attention_decode(const Context&, const AttentionDecodeArgs&);

namespace ref {
void attention_decode(const AttentionDecodeArgs&) noexcept;  // two passes, f64
}

}  // namespace lowkey
