// column_scan: the inner kernel of score_columns: products of some coordinates of a run of keys with a few queries.
#pragma once

#include "ops/key_columns.h"

namespace lowkey {

struct ColumnScan {
  const KvPages* kv;
  int plane, head;
  int64_t begin, end;      // tokens; begin a multiple of 64
  const int32_t* columns;  // [count] coordinates
  int count;
  const float* q;  // [count, heads], scaled
  int heads;
  float* scores;  // out: scores[h * stride + t] for t in [begin, end)
  int64_t stride;
};

void column_scan(const ColumnScan&) noexcept;

}  // namespace lowkey
