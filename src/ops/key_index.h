// KeyIndex: how the keys of one layer become a few nibbles each, and how those are scored. A separate plane of the
// cache that ranks all tokens while K and V stay where they are (docs/decisions/key_index.md).
//
// Encoding a key k of a KV head: z = rotation (k - mean), [R]; then for each nibble in turn, with the coordinates
// [begin, begin + width) of what is left of z, the nearest of 16 entries is chosen and taken away. With disjoint
// nibbles that is product quantisation (Jegou et al. 2011); two nibbles on one coordinate make 8 bits of it.
// Scoring a query q: u = query_rotation q, [R]; q . (k - mean) ~ sum over nibbles of u[begin...] . entry, so each
// nibble is one look-up in a table of 16 numbers, built once per query and head.
//
// Layout of a page of 64 tokens: for each nibble 32 bytes; byte i holds token i in its low half and token i + 32 in its
// high half, so that one byte shuffle looks up 32 tokens. A cache page of P tokens holds P / 64 of these, P a multiple
// of 64.
#pragma once

#include <cstdint>
#include <span>

#include "base/view.h"

namespace lowkey {

inline constexpr int kIndexTileTokens = 64;
inline constexpr int kMaxIndexNibbles = 256;  // their sums fit 16 bits

struct IndexNibble {
  int begin = 0, width = 0;        // coordinates [begin, begin + width) of z
  const float* entries = nullptr;  // [width, 16]: one row per coordinate
};

struct IndexHead {
  View rotation;                         // [R, D] f32
  View query_rotation;                   // [R, D] f32: the inverse of rotation, transposed; the same when orthogonal
  const float* mean = nullptr;           // [D]
  std::span<const IndexNibble> nibbles;  // 1 to 256
};

struct KeyIndex {
  std::span<const IndexHead> heads;  // [KH], all with as many nibbles and coordinates
  int nibbles() const noexcept { return static_cast<int>(heads[0].nibbles.size()); }
  // Bytes of the plane for a page of P tokens.
  static int64_t page_bytes(int nibbles, int page_tokens) noexcept { return int64_t{nibbles} * page_tokens / 2; }
};

}  // namespace lowkey
