// score_rows: the inner kernel of score_keys: dot products of a run of cached keys with a few queries.
#pragma once

#include <cstdint>

#include "ops/kv_pages.h"

namespace lowkey {

struct ScoreRows {
  const KvPages* kv;
  int head;            // KV head
  int64_t begin, end;  // tokens
  const float* q;      // [heads, dims], scaled; dims a multiple of 8, at most D
  int heads;
  int dims;
  float* scores;   // out: scores[h * stride + t] for t in [begin, end)
  int64_t stride;
};

void score_rows(const ScoreRows&) noexcept;

}  // namespace lowkey
