// KeyBounds: for each block of B tokens the least and the greatest of its keys, coordinate by coordinate (Quest,
// arXiv 2406.10774). No product q . k of the block is above sum_j max(q_j min_j, q_j max_j).
//
// A plane of the cache keeps them for blocks that are complete; the last, shorter one is bounded as it is scored, from
// its keys. So nothing has to be undone when a sequence is cut, and a row that sees less of a sequence than is cached
// gets the bounds of what it sees. Layout of a page of P tokens: P / B rows [min: D | max: D] of the cache's type, so
// that bounds are exact, and a plane is read as the cache itself is.
#pragma once

#include <cstdint>

#include "ops/kv_pages.h"

namespace lowkey {

struct KeyBounds {
  int plane = 0;
  int block_tokens = 16;  // B: a power of two, divides P

  static int64_t page_bytes(DType kv_type, int head_dim, int page_tokens, int block_tokens) noexcept {
    return row_bytes(kv_type, 2 * int64_t{head_dim}) * (page_tokens / block_tokens);
  }
  int64_t blocks(int64_t tokens) const noexcept { return (tokens + block_tokens - 1) / block_tokens; }
  // The complete blocks of a sequence as rows of a cache.
  KvPages rows(const KvPages& kv) const noexcept {
    const KvPlane& p = kv.planes[static_cast<size_t>(plane)];
    KvPages rows = kv;
    rows.base = p.base, rows.head_stride = p.head_stride;
    rows.length = kv.length / block_tokens;
    rows.page_tokens = kv.page_tokens / block_tokens;
    return rows;
  }
};

}  // namespace lowkey
