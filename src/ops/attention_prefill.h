// attention_prefill: T consecutive query tokens of one sequence. Causal: row i, at position S - T + i, reads the
// tokens up to and including its own. Not causal: every row reads all S keys, of which it need not be one. Exact online
// softmax over blocks of keys (Milakov & Gimelshein 2018; Dao et al. 2022), so memory beyond the output is a few
// blocks per thread whatever S is.
#pragma once

#include "base/context.h"
#include "base/view.h"
#include "ops/kv_pages.h"

namespace lowkey {

struct AttentionPrefillArgs {
  View q;       // [T, H, D] f32, rotated; head h reads KV head h / (H / KH)
  KvPages kv;   // length = S; causal: the T tokens already appended
  float scale;  // of the scores, usually 1 / sqrt(D)
  View out;     // [T, H, D] f32
  bool causal = true;
  int64_t window = 0;  // above 0, causal: row i reads the last so many tokens up to its own
  float cap = 0;       // above 0: scores x become cap tanh(x / cap)
  View log2_sums =
      {};  // [T, H] f32: log2 of the sum of e^score over the keys that a row reads; or none. Without window or cap
};

void attention_prefill(const Context&, const AttentionPrefillArgs&);

namespace ref {
void attention_prefill(const AttentionPrefillArgs&) noexcept;  // row by row, f64
}

}  // namespace lowkey
