// Key columns: the cached keys a second time, coordinate by coordinate, so that a ranking which needs only a few
// coordinates of every key reads nothing else (SparQ, arXiv 2312.04985). A plane of the cache keeps them: a page of P
// tokens is P / 64 tiles of [D, 64] numbers of the cache's type; P a multiple of 64.
#pragma once

#include <cstdint>

#include "ops/kv_pages.h"

namespace lowkey {

inline constexpr int kColumnTileTokens = 64;

inline int64_t key_columns_page_bytes(DType kv_type, int head_dim, int page_tokens) noexcept {
  return row_bytes(kv_type, head_dim) * page_tokens;
}

// The tile of token t of a KV head, and in it number [coordinate * 64 + t % 64].
inline std::byte* key_column_tile(const KvPages& kv, int plane, int head, int64_t t) noexcept {
  const int64_t bytes = row_bytes(kv.dtype, kv.head_dim) * kColumnTileTokens;
  return kv.plane_page(plane, head, t / kv.page_tokens) + t % kv.page_tokens / kColumnTileTokens * bytes;
}

}  // namespace lowkey
