// score_rows: the inner kernel of score_keys and score_bounds: dot products of a run of rows with a few queries.
#pragma once

#include <cstdint>

#include "ops/kv_pages.h"

namespace lowkey {

struct ScoreRows {
  const KvPages* kv;
  int head;            // KV head
  const int32_t* ids;  // [end] of tokens, or null: 0, 1, 2, ...
  int64_t begin, end;  // of ids
  const float* q;      // [heads, dims], scaled; dims a multiple of 8, at most 2 D
  int heads;
  int dims;
  float* scores;  // out: scores[h * stride + t] for t in [begin, end)
  int64_t stride;
};

void score_rows(const ScoreRows&) noexcept;

}  // namespace lowkey
