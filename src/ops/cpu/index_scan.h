// The kernels of score_index for the query heads of one KV head: tables of 8 bits, the scan of codes that sums table
// entries, and from the sums the keys.
#pragma once

#include <cstdint>

#include "ops/key_index.h"
#include "ops/kv_pages.h"

namespace lowkey {

inline constexpr int kIndexBundle = 4;  // nibbles whose entries are added in 8 bits

// Look-up tables: score (in powers of two) = step * sum of entries, but for what all tokens of a query head share.
//
// Nibbles go in bundles whose entries are added in 8 bits before they are in 16, which costs three times as much. A
// bundle takes nibbles of wide and narrow range alike, and the step is as small as the fullest bundle allows: with
// ranges as uneven as those of water-filled bits about that of 8 bits for each nibble, at worst that of 6.
struct IndexTables {
  int heads;         // G
  int slots;         // nibbles, rounded up to whole bundles
  uint8_t* entries;  // [heads, slots, 16]
  int32_t* offsets;  // [slots]: where in a tile the nibble of a slot lies
  int32_t* tops;     // [heads]: no sum of a head is larger
  float step;        // > 0, the same for all heads
  int tile_bytes;    // of the codes of kIndexTileTokens tokens
};

constexpr int64_t index_slots(int64_t nibbles) { return (nibbles + kIndexBundle - 1) / kIndexBundle * kIndexBundle; }
constexpr int64_t index_table_floats(int64_t heads, int64_t rank, int64_t nibbles) {
  return 4 * (rank + 1) + 17 * heads * nibbles;
}

// q: [heads, D]; scale includes log2(e). Sets offsets, tops, step, tile_bytes and entries. work: [index_table_floats].
void build_tables(const IndexHead&, const float* q, float scale, float* work, IndexTables&) noexcept;

// Tokens [begin, end) of a KV head; begin a multiple of kIndexTileTokens.
struct IndexScan {
  const KvPages* kv;
  int plane, head;
  int64_t begin, end;
  const IndexTables* tables;
  uint16_t* sums;  // out [heads][stride]: those of tokens [begin, end), and of what is left of the last tile
  int64_t stride;
  float* totals;  // out [heads]: sum_exponentials of the heads' sums
};

void scan_index(const IndexScan&) noexcept;

// 2^kIndexHeadroom * sum over tokens of 2^(step * (sum - top)), each term within 4 % and right on average: the mantissa
// is interpolated linearly (Schraudolph 1999). Terms below 2^-126 vanish: a result below kIndexLeastTotal says only
// that all sums lie far below `top`.
float sum_exponentials(const uint16_t* sums, int64_t count, float step, int32_t top) noexcept;
inline constexpr int kIndexHeadroom = 90;
inline constexpr float kIndexLeastTotal = 0x1p-90f;

// keys[t] = start + step * max over heads of max(0, sums[h][t] - drops[h]), for tokens [0, count).
struct IndexKeys {
  const uint16_t* sums;  // [heads][stride]
  int64_t stride, count;
  int heads;
  const uint16_t* drops;  // [heads]
  float step, start;
  float* keys;  // out
};

void index_keys(const IndexKeys&) noexcept;

}  // namespace lowkey
