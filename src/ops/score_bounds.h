// score_bounds: ranks all blocks of cached tokens by the bounds of their keys (key_bounds.h), as Quest does. With
// blocks of one token it ranks by the keys themselves.
//
// With s_h(b) = scale * sum_j max(q_j min_j, q_j max_j) for query head h and block b, of n_b tokens: key(b) = max over
// the group's heads of log2 (n_b 2^s_h(b) / sum over blocks of n 2^s_h): the share of attention that the block would
// get if all of its tokens reached the bound. Floor: 2 D elements per block and KV head must move.
#pragma once

#include <span>

#include "base/context.h"
#include "base/view.h"
#include "ops/key_bounds.h"

namespace lowkey {

struct ScoreBoundsArgs {
  View q;                       // [N, H, D] f32, rotated by position
  std::span<const KvPages> kv;  // [N], one per row of q; row n scores the blocks of its first kv[n].length tokens
  KeyBounds bounds;
  float scale;  // of the scores, usually 1 / sqrt(D)
  View keys;    // out [N, KH, S_max] f32, S_max >= the blocks of every row; columns past a row's untouched
};

// Throws kInvalidArgument. The result does not depend on the number of threads, on paging or on other rows.
void score_bounds(const Context&, const ScoreBoundsArgs&);

namespace ref {
void score_bounds(const ScoreBoundsArgs&) noexcept;  // from the keys, not from the plane
}

}  // namespace lowkey
