// Rows are taken in blocks that stay in the L1 cache: the scores of the block for all query heads, one step of the
// online softmax (Milakov & Gimelshein 2018), then the values. Every row is so read from memory once. Both
// products keep a tile of sums in registers; while a block is worked on, the next one is fetched row by row, whether
// it lies in sequence, on another page or behind a list of ids. The order of all sums is fixed by the position in
// the run alone, so paging and lists do not change a bit of the result.
#include "ops/cpu/decode_chunk.h"

#include <hwy/cache_control.h>

#include <algorithm>
#include <bit>
#include <limits>
#include <type_traits>
#include <utility>

#include "base/arena.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/decode_chunk.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "ops/cpu/lanes-inl.h"
#include "ops/cpu/soft_cap-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lowkey {
namespace HWY_NAMESPACE {
namespace {

constexpr int kMaxBlock = 64;       // tokens of a block, at most
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
};

int block_tokens(const KvPages& kv) {
  const auto tokens = std::bit_floor(static_cast<uint64_t>(kBlockBytes / kv.token_bytes()));
  return static_cast<int>(std::clamp<uint64_t>(tokens, 4, kMaxBlock));
}

void gather(const DecodeChunk& c, int64_t at, int most, Block& block) {
  const KvPages& kv = *c.kv;
  const int shift = std::countr_zero(static_cast<unsigned>(kv.page_tokens));
  const int64_t mask = kv.page_tokens - 1, bytes = kv.token_bytes();
  const std::byte* region = kv.base + c.head * kv.head_stride;
  block.count = static_cast<int>(std::clamp<int64_t>(c.end - at, 0, most));
  for (int i = 0; i < block.count; ++i) {
    const int64_t token = c.ids ? c.ids[at + i] : at + i;
    block.rows[i] = region + ((int64_t{kv.table[token >> shift]} << shift) + (token & mask)) * bytes;
  }
  for (int i = block.count; i % 4 != 0; ++i) block.rows[i] = block.rows[block.count - 1];
}

// Asks for one more row of the next block. The calls are spread evenly over the work on a block: a processor has room
// for few lines on their way, and a burst of requests holds up the work behind it. Rows of a list lie on pages of
// their own, where a processor may drop a request that finds no translation of the address: they are asked for twice.
HWY_INLINE void fetch_row(Workspace& w, int64_t row_bytes) {
  const int row = w.fetched++;
  if (row < w.next->count)
    for (int64_t i = 0; i < row_bytes; i += kLineBytes) hwy::Prefetch(w.next->rows[row] + i);
  if (w.listed && row < w.later->count)
    for (int64_t i = 0; i < row_bytes; i += kLineBytes) __builtin_prefetch(w.later->rows[row] + i, 0, 2);
}

// weights[head][token] = q[head] . k[token] for a tile of 4 or 2 tokens. Its sums, the queries and a key or two fit
// the registers.
template <int kHeads, int kTokens, class D, typename T>
HWY_INLINE void score_tile(D d, const T* const* k, const float* q, int64_t dim, float* weights) {
  hn::Vec<D> sum[kHeads][kTokens];
  for (auto& row : sum)
    for (auto& s : row) s = hn::Zero(d);
#pragma GCC unroll 4
  for (int64_t i = 0; i < dim; i += static_cast<int64_t>(hn::Lanes(d))) {
    hn::Vec<D> query[kHeads];
    for (int h = 0; h < kHeads; ++h) query[h] = hn::LoadU(d, q + h * dim + i);
    for (int t = 0; t < kTokens; ++t) {
      const auto key = load_f32(d, k[t] + i);
      for (int h = 0; h < kHeads; ++h) sum[h][t] = hn::MulAdd(key, query[h], sum[h][t]);
    }
  }
  if constexpr (kTokens == 4) {
    for (int h = 0; h < kHeads; ++h)
      store_sums_of_4(d, sum[h][0], sum[h][1], sum[h][2], sum[h][3], weights + h * kMaxBlock);
  } else {
    for (int h = 0; h < kHeads; h += 2)
      store_sums_of_2_and_2(d, sum[h][0], sum[h][1], sum[h + 1][0], sum[h + 1][1], weights + h * kMaxBlock, kMaxBlock);
  }
}

// Four tokens against all heads. Four heads at a time load and widen a key once for all of them: with 32 registers
// for four tokens, with 16 for two.
template <class D, typename T>
HWY_INLINE void score_4_tokens(D d, const T* const* k, const float* q, int heads, int64_t dim, float* weights) {
  int h = 0;
  if constexpr (HWY_TARGET <= HWY_AVX3) {
    for (; heads - h >= 4; h += 4) score_tile<4, 4>(d, k, q + h * dim, dim, weights + h * kMaxBlock);
  } else if constexpr (HWY_TARGET <= HWY_AVX2) {
    for (; heads - h >= 4; h += 4) {
      score_tile<4, 2>(d, k, q + h * dim, dim, weights + h * kMaxBlock);
      score_tile<4, 2>(d, k + 2, q + h * dim, dim, weights + h * kMaxBlock + 2);
    }
  }
  if (heads - h == 3) return score_tile<3, 4>(d, k, q + h * dim, dim, weights + h * kMaxBlock);
  for (; heads - h >= 2; h += 2) score_tile<2, 4>(d, k, q + h * dim, dim, weights + h * kMaxBlock);
  if (heads > h) score_tile<1, 4>(d, k, q + h * dim, dim, weights + h * kMaxBlock);
}

template <class D, typename T>
void scores(D d, const DecodeChunk& c, const float* q, int heads, Workspace& w) {
  const int64_t row_bytes = c.kv->token_bytes();
  for (int t = 0; t < w.block->count; t += 4) {
    for (int row = 0; row < 2; ++row) fetch_row(w, row_bytes);  // half of the next block in all
    score_4_tokens(d, reinterpret_cast<const T* const*>(w.block->rows + t), q, heads, c.kv->head_dim, w.weights[0] + t);
  }
}

// Rows of bytes: their scores times the scales of their keys (part 0), or their weights times those of their values
// (1).
template <class D>
void multiply_scales(D d, Workspace& w, int heads, int64_t dim, int part) {
  const int lanes = static_cast<int>(hn::Lanes(d)), count = w.block->count;
  alignas(64) float scale[kMaxBlock];
  for (int t = 0; t < count; ++t) scale[t] = byte_scale(w.block->rows[t], dim, part);
  for (int t = count; t % lanes != 0; ++t) scale[t] = 0.f;
  for (int t = 0; t < count; t += lanes) {
    const auto factor = hn::Load(d, scale + t);
    for (int h = 0; h < heads; ++h) hn::Store(hn::Mul(hn::Load(d, w.weights[h] + t), factor), d, w.weights[h] + t);
  }
}

// Scores become weights; the running maximum and sum at the end of each head's state move on. Heads go together to
// hide one another's latency.
template <int kHeads, class D>
void softmax_heads(D d, Workspace& w, int first_head, int64_t dim, float* state, int64_t stride) {
  const int lanes = static_cast<int>(hn::Lanes(d)), count = w.block->count;
  float(*weights)[kMaxBlock] = w.weights + first_head;
  hn::Vec<D> highest[kHeads], total[kHeads];
  for (int h = 0; h < kHeads; ++h) {
    for (int i = count; i % lanes != 0; ++i) weights[h][i] = -std::numeric_limits<float>::infinity();
    highest[h] = hn::Set(d, state[h * stride + dim]);
    total[h] = hn::Zero(d);
  }
  for (int i = 0; i < count; i += lanes)
    for (int h = 0; h < kHeads; ++h) highest[h] = hn::Max(highest[h], hn::Load(d, weights[h] + i));
  for (int h = 0; h < kHeads; ++h) highest[h] = hn::MaxOfLanes(d, highest[h]);
  for (int i = 0; i < count; i += lanes) {
    for (int h = 0; h < kHeads; ++h) {
      const auto weight = exp2_nonpositive(d, hn::Sub(hn::Load(d, weights[h] + i), highest[h]));
      hn::Store(weight, d, weights[h] + i);
      total[h] = hn::Add(total[h], weight);
    }
  }
  for (int h = 0; h < kHeads; ++h) {
    float &max = state[h * stride + dim], &sum = state[h * stride + dim + 1];
    const float rescale = hn::GetLane(exp2_nonpositive(d, hn::Sub(hn::Set(d, max), highest[h])));
    max = hn::GetLane(highest[h]);
    sum = sum * rescale + hn::GetLane(hn::SumOfLanes(d, total[h]));
    w.rescale[first_head + h] = rescale;
  }
}

template <class D>
void softmax_step(D d, Workspace& w, int heads, int64_t dim, float* state, int64_t stride) {
  int h = 0;
  for (; heads - h >= 4; h += 4) softmax_heads<4>(d, w, h, dim, state + h * stride, stride);
  for (; heads - h >= 1; h += 1) softmax_heads<1>(d, w, h, dim, state + h * stride, stride);
}

struct ValueTile {
  int first_head;
  int rows;         // of the next block, to ask for on the way
  int64_t dim, at;  // D, and where in it the tile begins
  int64_t row_bytes;
  float* state;  // [heads, stride]
  int64_t stride;
};

// state[head][at...] = state * rescale + sum over the block of weight * v, for a tile of kHeads x kVectors.
template <int kHeads, int kVectors, class D, typename T>
HWY_INLINE void value_tile(D d, Workspace& w, const ValueTile& tile) {
  float* state = tile.state + tile.at;
  const int64_t stride = tile.stride;
  const size_t lanes = hn::Lanes(d);
  hn::Vec<D> sum[kHeads][kVectors];
  for (int h = 0; h < kHeads; ++h)
    for (int v = 0; v < kVectors; ++v)
      sum[h][v] = hn::Mul(hn::LoadU(d, state + h * stride + v * lanes), hn::Set(d, w.rescale[tile.first_head + h]));
  const float* weights = w.weights[tile.first_head];
  const int count = w.block->count, piece = (count + tile.rows - 1) / tile.rows;
  for (int t = 0; t < count;) {
    fetch_row(w, tile.row_bytes);
    const int end = std::min(t + piece, count);
#pragma GCC unroll 4
    for (; t < end; ++t) {
      const T* row = reinterpret_cast<const T*>(w.block->rows[t]) + tile.dim + tile.at;
      hn::Vec<D> value[kVectors];
      for (int v = 0; v < kVectors; ++v) value[v] = load_f32(d, row + v * lanes);
      for (int h = 0; h < kHeads; ++h) {
        const auto weight = hn::Set(d, weights[h * kMaxBlock + t]);
        for (int v = 0; v < kVectors; ++v) sum[h][v] = hn::MulAdd(value[v], weight, sum[h][v]);
      }
    }
  }
  for (int h = 0; h < kHeads; ++h)
    for (int v = 0; v < kVectors; ++v) hn::StoreU(sum[h][v], d, state + h * stride + v * lanes);
}

// All of D for kHeads heads, kVectors vectors at a time. tile.rows: of the next block, over all of D.
template <int kHeads, int kVectors, class D, typename T>
HWY_INLINE void value_rows(D d, Workspace& w, ValueTile tile) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  tile.rows = std::max(1, static_cast<int>((tile.rows * kVectors * lanes + tile.dim - 1) / tile.dim));
  for (; tile.at + kVectors * lanes <= tile.dim; tile.at += kVectors * lanes)
    value_tile<kHeads, kVectors, D, T>(d, w, tile);
  for (; tile.at < tile.dim; tile.at += lanes) value_tile<kHeads, 1, D, T>(d, w, tile);
}

template <class D, typename T>
void values(D d, const KvPages& kv, Workspace& w, int heads, float* state) {
  const int64_t dim = kv.head_dim, stride = state_floats(dim);
  const int parts = (heads + 3) / 4, rows = (w.next->count / 2 + parts - 1) / parts;
  for (int h = 0; h < heads; h += 4) {
    const ValueTile tile{.first_head = h,
                         .rows = rows,
                         .dim = dim,
                         .at = 0,
                         .row_bytes = kv.token_bytes(),
                         .state = state + h * stride,
                         .stride = stride};
    switch (std::min(heads - h, 4)) {
      case 4:
        value_rows<4, 2, D, T>(d, w, tile);
        break;
      case 3:
        value_rows<3, 4, D, T>(d, w, tile);
        break;
      case 2:
        value_rows<2, 4, D, T>(d, w, tile);
        break;
      default:
        value_rows<1, 8, D, T>(d, w, tile);
    }
  }
}

template <class D, typename T>
void attend(D d, const DecodeChunk& c, int first_head, int heads) {
  const int64_t dim = c.kv->head_dim, stride = state_floats(dim);
  const float* q = c.q + first_head * dim;
  float* state = c.state + first_head * stride;
  for (int h = 0; h < heads; ++h) {
    std::fill_n(state + h * stride, dim, 0.f);
    state[h * stride + dim] = -std::numeric_limits<float>::infinity();
    state[h * stride + dim + 1] = 0.f;
  }
  Workspace w;
  w.listed = c.ids != nullptr;
  const int most = block_tokens(*c.kv);
  gather(c, c.begin, most, *w.next);
  gather(c, c.begin + most, most, *w.later);
  while (w.fetched < w.next->count) fetch_row(w, c.kv->token_bytes());
  for (int64_t at = c.begin; at < c.end; at += most) {
    std::swap(w.block, w.next);
    std::swap(w.next, w.later);
    w.fetched = 0;
    gather(c, at + 2 * most, most, *w.later);
    scores<D, T>(d, c, q, heads, w);
    const hn::ScalableTag<float> widest;
    if constexpr (std::is_same_v<T, int8_t>) multiply_scales(widest, w, heads, dim, 0);
    for (int h = 0; c.cap > 0 && h < heads; ++h) soft_cap_span(w.weights[h], w.block->count, c.cap);
    softmax_step(widest, w, heads, dim, state, stride);
    if constexpr (std::is_same_v<T, int8_t>) multiply_scales(widest, w, heads, dim, 1);
    values<D, T>(d, *c.kv, w, heads, state);
  }
}

template <typename T>
void attend_heads(const DecodeChunk& c) {
  const hn::ScalableTag<float> d;
  for (int h = 0; h < c.group; h += kMaxHeads) {
    const int heads = std::min(c.group - h, kMaxHeads);
    if (c.kv->head_dim % static_cast<int>(hn::Lanes(d)) == 0) {
      attend<decltype(d), T>(d, c, h, heads);
    } else {  // D is a multiple of 8, not of 16: half of the widest vector
      attend<hn::CappedTag<float, 8>, T>({}, c, h, heads);
    }
  }
}

void decode_chunk(const DecodeChunk& c) {
  switch (c.kv->dtype) {
    case DType::kF32:
      return attend_heads<float>(c);
    case DType::kF16:
      return attend_heads<hwy::float16_t>(c);
    case DType::kI8:
      return attend_heads<int8_t>(c);
    default:
      return attend_heads<hwy::bfloat16_t>(c);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lowkey
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lowkey {

HWY_EXPORT(decode_chunk);

void decode_chunk(const DecodeChunk& c) noexcept { HWY_DYNAMIC_DISPATCH(decode_chunk)(c); }

}  // namespace lowkey
#endif
