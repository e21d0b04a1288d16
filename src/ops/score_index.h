// score_index: ranks all cached tokens by their index codes (key_index.h), for all query heads of a KV head in one
// scan.
//
// With s_h(t) the estimated score of token t for query head h: key(t) = max over the group's heads of
// log2 softmax_t(s_h), the softmax over all tokens of the row: what the most interested head would give the token, at
// most. Floor: nibbles / 2 bytes per token and KV head must move.
#pragma once

#include <span>

#include "base/context.h"
#include "ops/key_index.h"
#include "ops/kv_pages.h"

namespace lowkey {

struct ScoreIndexArgs {
  const KeyIndex& index;
  View q;                       // [N, H, D] f32, rotated by position
  std::span<const KvPages> kv;  // [N], one per row of q; row n scores the first kv[n].length tokens
  int plane;                    // which plane of kv holds the index
  float scale;                  // of the scores, usually 1 / sqrt(D)
  View keys;                    // out [N, KH, S_max] f32, S_max >= every length; columns past a row's length untouched
};

// Throws kInvalidArgument. The result does not depend on the number of threads, on paging or on other rows.
void score_index(const Context&, const ScoreIndexArgs&);

namespace ref {
// The same look-up in exact arithmetic. The kernel's scores are sums of whole steps, the same step for all heads of a
// group: 1/63 of the largest table's range at most, mostly about half of that. Each nibble is off by up to half a step,
// the normaliser by as much and another 0.06.
void score_index(const ScoreIndexArgs&) noexcept;
}  // namespace ref

}  // namespace lowkey
