// score_columns: ranks all cached tokens by the few coordinates of their keys that matter most to the query (SparQ,
// arXiv 2312.04985, step 1).
//
// For each row and KV head: I = the R coordinates with the largest sum over the group of |q_h|, ties to the lower one.
// s_h(t) = scale sqrt(|q_h|_1 / |q_h[I]|_1) q_h[I] . k_t[I]: with scale = 1 / sqrt(D) the paper's temperature.
// Floor: R elements per token and KV head must move.
#pragma once

#include <span>

#include "base/context.h"
#include "base/view.h"
#include "ops/key_columns.h"

namespace lowkey {

struct ScoreColumnsArgs {
  View q;                       // [N, H, D] f32, rotated by position
  std::span<const KvPages> kv;  // [N], one per row of q; row n scores the first kv[n].length tokens
  int plane;                    // which plane of kv holds the columns
  int columns;                  // R: 1 to D
  float scale;
  bool raw_sum;      // key(t) = sum over the group's heads of s_h(t) log2(e), as the authors' code has it; else the
                     // maximum over them of log2 softmax_t(s_h), as the other rankings have it
  View keys;         // out [N, KH, S_max] f32, S_max >= every length
  View scores = {};  // out [N, H, S_max] f32: s_h(t) log2(e) of each head, S_max as for keys; null: not wanted
};

// Throws kInvalidArgument. The result does not depend on the number of threads, on paging or on other rows.
void score_columns(const Context&, const ScoreColumnsArgs&);

namespace ref {
void score_columns(const ScoreColumnsArgs&) noexcept;  // from the keys, not from the plane
}

}  // namespace lowkey
