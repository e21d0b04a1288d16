#include "ops/check_index.h"

#include "base/error.h"
#include "ops/check_kv.h"

namespace lowkey {
namespace {

void check_head(std::string_view op, const IndexHead& head, int dim, size_t number) {
  const View& r = head.rotation;
  LK_REQUIRE(r.rank == 2 && r.dtype == DType::kF32 && r.data != nullptr && r.dim(0) >= 1 && r.dim(1) == dim,
             kInvalidArgument, "[{}] rotation {}, must be f32 [R, {}] (head {})", op, r.describe(), dim, number);
  const View& q = head.query_rotation;
  LK_REQUIRE(q.rank == 2 && q.dtype == DType::kF32 && q.data != nullptr && q.shape == r.shape, kInvalidArgument,
             "[{}] query rotation {}, must be shaped as the keys' {} (head {})", op, q.describe(), r.describe(),
             number);
  LK_REQUIRE(head.mean != nullptr, kInvalidArgument, "[{}] no mean (head {})", op, number);
  for (const IndexNibble& n : head.nibbles) {
    LK_REQUIRE(n.begin >= 0 && n.width >= 1 && n.width <= r.dim(0) - n.begin, kInvalidArgument,
               "[{}] nibble of coordinates [{}, {} + {}), must lie in [0, {}) (head {})", op, n.begin, n.begin, n.width,
               r.dim(0), number);
    LK_REQUIRE(n.entries != nullptr, kInvalidArgument, "[{}] nibble without entries (head {})", op, number);
  }
}

}  // namespace

void check_index(std::string_view op, const KeyIndex& index, const KvPages& kv, int plane) {
  check_kv(op, kv);
  LK_REQUIRE(index.heads.size() == static_cast<size_t>(kv.kv_heads), kInvalidArgument,
             "[{}] index of {} heads for {} KV heads", op, index.heads.size(), kv.kv_heads);
  const size_t nibbles = index.heads[0].nibbles.size();
  LK_REQUIRE(nibbles >= 1 && nibbles <= kMaxIndexNibbles, kInvalidArgument, "[{}] {} nibbles, must be 1 to {}", op,
             nibbles, kMaxIndexNibbles);
  for (size_t head = 0; head < index.heads.size(); ++head) {
    check_head(op, index.heads[head], kv.head_dim, head);
    LK_REQUIRE(index.heads[head].nibbles.size() == nibbles &&
                   index.heads[head].rotation.shape == index.heads[0].rotation.shape,
               kInvalidArgument, "[{}] heads of different index shape (head {})", op, head);
  }
  LK_REQUIRE(kv.page_tokens % kIndexTileTokens == 0, kInvalidArgument, "[{}] page_tokens={}, must be a multiple of {}",
             op, kv.page_tokens, kIndexTileTokens);
  LK_REQUIRE(plane >= 0 && plane < KvPages::kMaxPlanes && kv.planes[static_cast<size_t>(plane)].base != nullptr,
             kInvalidArgument, "[{}] plane={}, the cache has none there", op, plane);
  const int64_t bytes = kv.planes[static_cast<size_t>(plane)].page_bytes;
  const int64_t wanted = KeyIndex::page_bytes(static_cast<int>(nibbles), kv.page_tokens);
  LK_REQUIRE(bytes >= wanted, kInvalidArgument, "[{}] plane of {} bytes a page, must be {} or more", op, bytes, wanted);
}

}  // namespace lowkey
