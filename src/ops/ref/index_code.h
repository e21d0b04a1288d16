// One code of an index plane, for the references: nibble n of token t of a KV head.
#pragma once

#include "ops/key_index.h"
#include "ops/kv_pages.h"

namespace lowkey::ref {

struct IndexCode {
  std::byte* byte;
  int shift;  // 0: the low half, 4: the high half

  int get() const noexcept { return std::to_integer<int>(*byte >> shift) & 15; }
  void set(int code) const noexcept {
    *byte = (*byte & ~(std::byte{15} << shift)) | (static_cast<std::byte>(code) << shift);
  }
};

inline IndexCode index_code(const KvPages& kv, int plane, int head, int nibbles, int64_t t, int n) noexcept {
  const int64_t in_page = t % kv.page_tokens, in_tile = in_page % kIndexTileTokens;
  std::byte* tile = kv.plane_page(plane, head, t / kv.page_tokens) +
                    in_page / kIndexTileTokens * KeyIndex::page_bytes(nibbles, kIndexTileTokens);
  return {tile + n * 32 + in_tile % 32, in_tile < 32 ? 0 : 4};
}

}  // namespace lowkey::ref
