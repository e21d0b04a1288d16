// The block of rows that decode_chunk works on, and the next ones on their way. Included once per Highway target.
#if defined(LOWKEY_OPS_CPU_DECODE_BLOCK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOWKEY_OPS_CPU_DECODE_BLOCK_INL_H_
#undef LOWKEY_OPS_CPU_DECODE_BLOCK_INL_H_
#else
#define LOWKEY_OPS_CPU_DECODE_BLOCK_INL_H_
#endif

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <algorithm>
#include <bit>

#include "ops/cpu/decode_chunk.h"

HWY_BEFORE_NAMESPACE();
namespace lowkey {
namespace HWY_NAMESPACE {

constexpr int kMaxBlock = 128;      // tokens of a block, at most
constexpr int kBlockBytes = 16384;  // half of the smallest L1 data cache of today's processors
constexpr int kMaxHeads = 16;       // query heads worked on together; larger groups go in parts
constexpr int64_t kLineBytes = 64;

struct Block {
  int count = 0;                                 // tokens
  alignas(64) const std::byte* rows[kMaxBlock];  // [count rounded up to 4]; the last row repeats
};

struct Workspace {
  Block blocks[3];
  Block* block = &blocks[0];  // worked on
  Block* next = &blocks[1];   // being fetched
  Block* later = &blocks[2];  // of a list: on its way to the second cache
  int fetched = 0;            // rows of them that have been asked for
  bool listed = false;
  alignas(64) float weights[kMaxHeads][kMaxBlock];  // scores, then 2^(score - max)
  float rescale[kMaxHeads];                         // 2^(old max - new max)
  float peak[kMaxHeads];        // of rows with scales: the largest weight times the scale of its values
  float least[kMaxHeads] = {};  // of kI8I4: weights times the least values of their rows, summed up
};

// What the scales of a row take is not counted. Blocks of bytes are larger: there the work that comes once a block,
// whatever its tokens, costs more than that the second cache has a part of it.
HWY_INLINE int block_tokens(const KvPages& kv) {
  const int64_t bytes = has_scales(kv.dtype) ? 2 * kBlockBytes : kBlockBytes;
  const auto tokens = std::bit_floor(static_cast<uint64_t>(bytes / (2 * kv.value_offset())));
  return static_cast<int>(std::clamp<uint64_t>(tokens, 4, kMaxBlock));
}

HWY_INLINE void gather(const DecodeChunk& c, int64_t at, int most, Block& block) {
  const KvPages& kv = *c.kv;
  const int shift = std::countr_zero(static_cast<unsigned>(kv.page_tokens));
  const int64_t mask = kv.page_tokens - 1, bytes = kv.token_bytes();
  const std::byte* region = kv.base + c.head * kv.head_stride;
  block.count = static_cast<int>(std::clamp<int64_t>(c.end - at, 0, most));
  const auto row = [&](int64_t token) HWY_ATTR {
    return region + ((int64_t{kv.table[token >> shift]} << shift) + (token & mask)) * bytes;
  };
  if (c.ids) {
    for (int i = 0; i < block.count; ++i) block.rows[i] = row(c.ids[at + i]);
  } else {
    for (int i = 0; i < block.count;) {  // page by page
      const std::byte* next = row(at + i);
      const auto end = static_cast<int>(std::min<int64_t>(block.count, i + kv.page_tokens - ((at + i) & mask)));
      for (; i < end; ++i, next += bytes) block.rows[i] = next;
    }
  }
  for (int i = block.count; i % 4 != 0; ++i) block.rows[i] = block.rows[block.count - 1];
}

// Asks for one more row of the next block. The calls are spread evenly over the work on a block: a processor has room
// for few lines on their way, and a burst of requests holds up the work behind it. Rows of a list lie on pages of
// their own, where a processor may drop a request that finds no translation of the address: they are asked for twice.
HWY_INLINE void fetch_row(Workspace& w, int64_t row_bytes) {
  const int row = w.fetched++;
  if (row < w.next->count) {
    const std::byte* at = w.next->rows[row];
    int64_t left = row_bytes;
    for (; left >= 4 * kLineBytes; left -= 4 * kLineBytes, at += 4 * kLineBytes)
      for (int i = 0; i < 4; ++i) hwy::Prefetch(at + i * kLineBytes);
    for (; left > 0; left -= kLineBytes, at += kLineBytes) hwy::Prefetch(at);
  }
  if (w.listed && row < w.later->count)
    for (int64_t i = 0; i < row_bytes; i += kLineBytes) __builtin_prefetch(w.later->rows[row] + i, 0, 2);
}

// How many of the next block's `rows` a tile of `width` of the values' D columns asks for.
HWY_INLINE int tile_rows(int rows, int64_t width, int64_t dim) {
  return std::max(1, static_cast<int>((rows * width + dim - 1) / dim));
}

struct ValueTile {
  int first_head;
  int rows;         // of the next block, to ask for on the way
  int64_t dim, at;  // D, and where in it the tile begins
  int64_t row_bytes;
  float* state;  // [heads, stride]
  int64_t stride;
};

}  // namespace HWY_NAMESPACE
}  // namespace lowkey
HWY_AFTER_NAMESPACE();

#endif
