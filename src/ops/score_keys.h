// score_keys: ranks all cached tokens by their keys themselves, or by the first R coordinates of them: exact top-k, and
// Loki's ranking (Alg. 1, line 5) when keys lie in the cache rotated.
#pragma once

#include <span>

#include "base/context.h"
#include "base/view.h"
#include "ops/attention_decode.h"
#include "ops/kv_pages.h"

namespace lowkey {

struct ScoreKeysArgs {
  View q;                                  // [N, H, D] f32
  std::span<const KvPages> kv;             // [N], one per row of q; row n scores the first kv[n].length tokens
  int dims;                                // R: coordinates used, 1 to D
  float scale;                             // of the scores, usually 1 / sqrt(D)
  bool per_query_head;                     // keys for each query head instead of each group
  View keys;                               // out [N, KH, S_max] f32 (or [N, H, S_max]), S_max >= every length
  std::span<const TokenList> tokens = {};  // [N * KH]: only these tokens, column i for the i-th; empty: all
};

// key(t) = max over the group's heads of log2 softmax_t(scale q_h . k_t), as score_index has it; per query head
// the plain log2 e * scale * q . k, which ranks the same. Throws kInvalidArgument.
void score_keys(const Context&, const ScoreKeysArgs&);

namespace ref {
void score_keys(const ScoreKeysArgs&) noexcept;
}

}  // namespace lowkey
