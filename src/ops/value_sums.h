// Value sums: running sums of the cached values, so that the mean of all of them takes a page at most to know (SparQ,
// arXiv 2312.04985, step 3). A plane of the cache keeps for each page of a KV head [D] f32: the sum of the values of
// all tokens in the pages before it. Nothing of its own page, so a sequence may be cut anywhere.
#pragma once

#include <cstdint>

#include "ops/kv_pages.h"

namespace lowkey {

// Whole cache lines, which is what the cache gives.
inline int64_t value_sums_page_bytes(int head_dim) noexcept {
  constexpr int64_t kLine = 64;
  return (head_dim * static_cast<int64_t>(sizeof(float)) + kLine - 1) / kLine * kLine;
}

// [D], of page `index` (0 = the sequence's first).
inline float* value_sum(const KvPages& kv, int plane, int head, int64_t index) noexcept {
  return reinterpret_cast<float*>(kv.plane_page(plane, head, index));
}

}  // namespace lowkey
