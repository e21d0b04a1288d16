// The three kernels of score_index, for up to 4 query heads of one KV head: tables of 8 bits, the scan of codes that
// sums table entries, and from the sums the keys.
#pragma once

#include <cstdint>

#include "ops/key_index.h"
#include "ops/kv_pages.h"

namespace lowkey {

inline constexpr int kIndexHeads = 4;  // query heads worked on together: their sums fit the registers of AVX2

// Look-up tables: score (in powers of two) = step * sum of entries + bias.
//
// Nibbles go in pairs whose two entries are added in 8 bits, halving the costlier additions in 16: the nibble of the
// widest range with that of the narrowest, and so on. The step is as small as all pairs allow: with ranges as uneven as
// those of water-filled bits it is nearly that of 8 bits, at worst that of 7.
struct IndexTables {
  int heads;         // <= kIndexHeads
  int slots;         // nibbles, rounded up to pairs
  uint8_t* entries;  // [slots, heads, 16]
  int32_t* offsets;  // [slots]: where in a tile the nibble of a slot lies
  float step;        // > 0
  float bias[kIndexHeads];
  int32_t top[kIndexHeads];  // no sum of a head is larger
};

// q: [heads, D]; scale includes log2(e); sets all but heads, entries and offsets. work: index_table_floats.
void build_tables(const IndexHead&, const float* q, float scale, float* work, IndexTables&) noexcept;
constexpr int64_t index_table_floats(int64_t rank, int64_t nibbles) {
  return kIndexHeads * (rank + 1 + 16 * nibbles) + 16;
}

// Tokens [begin, end) of a KV head; begin a multiple of kIndexTileTokens.
struct IndexScan {
  const KvPages* kv;
  int plane, head;
  int64_t begin, end;
  const IndexTables* tables;
  uint16_t* sums;  // out [heads][stride]: those of tokens [begin, end), and of what is left of the last tile
  int64_t stride;
  float* total;  // out [heads]: 2^kIndexHeadroom * sum of 2^(step * (sum - top)), see sum_exponentials
};

void scan_index(const IndexScan&) noexcept;

// 2^kIndexHeadroom * sum over tokens of 2^(step * (sum - top)), each term within 4 % and right on average: the mantissa
// is interpolated linearly (Schraudolph 1999). Terms below 2^-126 vanish: a result below kIndexLeastTotal says only
// that all sums lie far below `top`.
float sum_exponentials(const uint16_t* sums, int64_t count, float step, int32_t top) noexcept;
inline constexpr int kIndexHeadroom = 90;
inline constexpr float kIndexLeastTotal = 0x1p-90f;

// keys[t] = max over heads of step[h] * sums[h][t] + offset[h], for tokens [0, count).
struct IndexKeys {
  const uint16_t* sums;  // [heads][stride]
  int64_t stride, count;
  int heads;
  const float *step, *offset;  // [heads]
  float* keys;
};

void index_keys(const IndexKeys&) noexcept;

}  // namespace lowkey
