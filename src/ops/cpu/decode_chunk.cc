// Rows are taken in blocks that stay in the L1 cache: the scores of the block for all query heads, one step of the
// online softmax (Milakov & Gimelshein 2018), then the values. Every row is so read from memory once. Both
// products keep a tile of sums in registers; while a block is worked on, the next one is fetched, whether it
// lies in sequence, on another page or behind a list of ids. The order of all sums is fixed by the position in
// the run alone, so paging and lists do not change a bit of the result.
#include "ops/cpu/decode_chunk.h"

#include <hwy/cache_control.h>

#include <algorithm>
#include <bit>
#include <limits>
#include <utility>

#include "base/arena.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/decode_chunk.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "ops/cpu/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lowkey {
namespace HWY_NAMESPACE {
namespace {

constexpr int kMaxBlock = 64;       // tokens of a block, at most
constexpr int kBlockBytes = 16384;  // half of the smallest L1 data cache of today's processors
constexpr int kMaxHeads = 16;       // query heads worked on together; larger groups go in parts

struct Block {
  int count = 0;                                 // tokens
  alignas(64) const std::byte* rows[kMaxBlock];  // [count rounded up to 4]; the last row repeats
};

struct Workspace {
  Block blocks[2];
  Block* block = &blocks[0];                        // worked on
  Block* next = &blocks[1];                         // being fetched
  int fetched = 0;                                  // rows of it that have been asked for
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
  block.count = static_cast<int>(std::min<int64_t>(most, c.end - at));
  for (int i = 0; i < block.count; ++i) {
    const int64_t token = c.ids ? c.ids[at + i] : at + i;
    block.rows[i] = region + ((int64_t{kv.table[token >> shift]} << shift) + (token & mask)) * bytes;
  }
  for (int i = block.count; i % 4 != 0; ++i) block.rows[i] = block.rows[block.count - 1];
}

// Asks for the next few rows of the next block. Spread over all the work on a block, so that memory never waits.
HWY_INLINE void fetch(Workspace& w, int rows, int64_t row_bytes) {
  const int end = std::min(w.fetched + rows, w.next->count);
  for (; w.fetched < end; ++w.fetched) {
    const std::byte* row = w.next->rows[w.fetched];
    for (int64_t i = 0; i < row_bytes; i += static_cast<int64_t>(kCacheLine)) hwy::Prefetch(row + i);
  }
}

// weights[head][token] = q[head] . k[token] for a tile of 4 tokens. Its sums, one key and the queries fit the
// registers.
template <int kHeads, class D, typename T>
HWY_INLINE void score_tile(D d, const T* const* k, const float* q, int64_t dim, float* weights) {
  constexpr int kTokens = 4;
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
  for (int h = 0; h < kHeads; ++h)
    store_sums_of_4(d, sum[h][0], sum[h][1], sum[h][2], sum[h][3], weights + h * kMaxBlock);
}

// Four tokens against all heads, as many heads at a time as the registers hold sums for.
template <class D, typename T>
HWY_INLINE void score_4_tokens(D d, const T* const* k, const float* q, int heads, int64_t dim, float* weights) {
  int h = 0;
  if (HWY_TARGET <= HWY_AVX3)  // 32 registers
    for (; heads - h >= 4; h += 4) score_tile<4>(d, k, q + h * dim, dim, weights + h * kMaxBlock);
  if (heads - h == 3) return score_tile<3>(d, k, q + h * dim, dim, weights + h * kMaxBlock);
  for (; heads - h >= 2; h += 2) score_tile<2>(d, k, q + h * dim, dim, weights + h * kMaxBlock);
  if (heads > h) score_tile<1>(d, k, q + h * dim, dim, weights + h * kMaxBlock);
}

template <class D, typename T>
void scores(D d, const DecodeChunk& c, const float* q, int heads, Workspace& w) {
  const int64_t row_bytes = c.kv->token_bytes();
  for (int t = 0; t < w.block->count; t += 4) {
    fetch(w, 2, row_bytes);
    score_4_tokens(d, reinterpret_cast<const T* const*>(w.block->rows + t), q, heads, c.kv->head_dim, w.weights[0] + t);
  }
}

// Scores become weights; the running maximum and sum at the end of the head's state move on.
template <class D>
void softmax_step(D d, float* weights, int count, float& max, float& sum, float& rescale) {
  const int lanes = static_cast<int>(hn::Lanes(d));
  for (int i = count; i % lanes != 0; ++i) weights[i] = -std::numeric_limits<float>::infinity();
  auto highest = hn::Set(d, max);
  for (int i = 0; i < count; i += lanes) highest = hn::Max(highest, hn::Load(d, weights + i));
  highest = hn::MaxOfLanes(d, highest);
  auto total = hn::Zero(d);
  for (int i = 0; i < count; i += lanes) {
    const auto weight = exp2_nonpositive(d, hn::Sub(hn::Load(d, weights + i), highest));
    hn::Store(weight, d, weights + i);
    total = hn::Add(total, weight);
  }
  rescale = hn::GetLane(exp2_nonpositive(d, hn::Sub(hn::Set(d, max), highest)));
  max = hn::GetLane(highest);
  sum = sum * rescale + hn::GetLane(hn::SumOfLanes(d, total));
}

// state[head][at...] = state * rescale + sum over the block of weight * v, for a tile of kHeads x kVectors.
template <int kHeads, int kVectors, class D, typename T>
HWY_INLINE void value_tile(D d, const Workspace& w, int first_head, int64_t offset, float* state, int64_t stride) {
  const size_t lanes = hn::Lanes(d);
  hn::Vec<D> sum[kHeads][kVectors];
  for (int h = 0; h < kHeads; ++h)
    for (int v = 0; v < kVectors; ++v)
      sum[h][v] = hn::Mul(hn::LoadU(d, state + h * stride + v * lanes), hn::Set(d, w.rescale[first_head + h]));
  const float* weights = w.weights[first_head];
#pragma GCC unroll 4
  for (int t = 0; t < w.block->count; ++t) {
    const T* row = reinterpret_cast<const T*>(w.block->rows[t]) + offset;
    hn::Vec<D> value[kVectors];
    for (int v = 0; v < kVectors; ++v) value[v] = load_f32(d, row + v * lanes);
    for (int h = 0; h < kHeads; ++h) {
      const auto weight = hn::Set(d, weights[h * kMaxBlock + t]);
      for (int v = 0; v < kVectors; ++v) sum[h][v] = hn::MulAdd(value[v], weight, sum[h][v]);
    }
  }
  for (int h = 0; h < kHeads; ++h)
    for (int v = 0; v < kVectors; ++v) hn::StoreU(sum[h][v], d, state + h * stride + v * lanes);
}

// All of D for kHeads heads, kVectors vectors at a time.
template <int kHeads, int kVectors, class D, typename T>
HWY_INLINE void value_rows(D d, Workspace& w, int first_head, int64_t dim, float* state, int64_t stride) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const int rows_per_tile = static_cast<int>(kMaxBlock / 2 * kVectors * lanes / dim) + 1;
  int64_t i = 0;
  for (; i + kVectors * lanes <= dim; i += kVectors * lanes) {
    fetch(w, rows_per_tile, 2 * dim * static_cast<int64_t>(sizeof(T)));
    value_tile<kHeads, kVectors, D, T>(d, w, first_head, dim + i, state + i, stride);
  }
  for (; i < dim; i += lanes) value_tile<kHeads, 1, D, T>(d, w, first_head, dim + i, state + i, stride);
}

template <class D, typename T>
void values(D d, Workspace& w, int heads, int64_t dim, float* state, int64_t stride) {
  for (int h = 0; h < heads; h += 4) {
    float* out = state + h * stride;
    switch (std::min(heads - h, 4)) {
      case 4:
        value_rows<4, 2, D, T>(d, w, h, dim, out, stride);
        break;
      case 3:
        value_rows<3, 4, D, T>(d, w, h, dim, out, stride);
        break;
      case 2:
        value_rows<2, 4, D, T>(d, w, h, dim, out, stride);
        break;
      default:
        value_rows<1, 8, D, T>(d, w, h, dim, out, stride);
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
  const int most = block_tokens(*c.kv);
  gather(c, c.begin, most, *w.next);
  fetch(w, most, c.kv->token_bytes());
  for (int64_t at = c.begin; at < c.end; at += w.block->count) {
    std::swap(w.block, w.next);
    w.fetched = 0;
    gather(c, at + w.block->count, most, *w.next);
    scores<D, T>(d, c, q, heads, w);
    for (int h = 0; h < heads; ++h) {
      float* head = state + h * stride;
      softmax_step(hn::ScalableTag<float>(), w.weights[h], w.block->count, head[dim], head[dim + 1], w.rescale[h]);
    }
    values<D, T>(d, w, heads, dim, state, stride);
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
