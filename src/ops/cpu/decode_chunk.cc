// Rows are taken in blocks that stay in the L1 cache: the scores of the block for all query heads, one step of the
// online softmax (Milakov & Gimelshein 2018), then the values. Every row is so read from memory once. Both
// products keep a tile of sums in registers; while a block is worked on, the next one is fetched row by row, whether
// it lies in sequence, on another page or behind a list of ids. The order of all sums is fixed by the position in
// the run alone, so paging and lists do not change a bit of the result.
#include "ops/cpu/decode_chunk.h"

#include <algorithm>
#include <limits>
#include <type_traits>
#include <utility>

#include "base/arena.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/decode_chunk.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "ops/cpu/decode_block-inl.h"
#include "ops/cpu/decode_bytes-inl.h"
#include "ops/cpu/lanes-inl.h"
#include "ops/cpu/soft_cap-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lowkey {
namespace HWY_NAMESPACE {
namespace {

// How the numbers of a row are multiplied with queries in f32. As ByteDots, decode_bytes-inl.h.
template <class D, typename T>
struct FloatDots {
  using Key = T;
  using Query = float;
  using SumTag = D;
  using Sum = hn::Vec<D>;
  static constexpr int64_t kStep = hn::MaxLanes(D());
  HWY_INLINE static Sum zero() { return hn::Zero(D()); }
  HWY_INLINE static Sum query(const float* q) { return hn::LoadU(D(), q); }
  HWY_INLINE static Sum key(const T* k) { return load_f32(D(), k); }
  HWY_INLINE static Sum add(Sum key, Sum query, Sum sum) { return hn::MulAdd(key, query, sum); }
};

// weights[head][token] = q[head] . k[token] for a tile of 4 or 2 tokens. Its sums, the queries and a key or two fit
// the registers.
template <int kHeads, int kTokens, class Dots>
HWY_INLINE void score_tile(const typename Dots::Key* const* k, const typename Dots::Query* q, int64_t dim,
                           float* weights) {
  typename Dots::Sum sum[kHeads][kTokens];
  for (auto& row : sum)
    for (auto& s : row) s = Dots::zero();
#pragma GCC unroll 4
  for (int64_t i = 0; i < dim; i += Dots::kStep) {
    decltype(Dots::query(q)) query[kHeads];
    for (int h = 0; h < kHeads; ++h) query[h] = Dots::query(q + h * dim + i);
    for (int t = 0; t < kTokens; ++t) {
      const auto key = Dots::key(k[t] + i);
      for (int h = 0; h < kHeads; ++h) sum[h][t] = Dots::add(key, query[h], sum[h][t]);
    }
  }
  const typename Dots::SumTag tag;
  if constexpr (kTokens == 4) {
    for (int h = 0; h < kHeads; ++h)
      store_sums_of_4(tag, sum[h][0], sum[h][1], sum[h][2], sum[h][3], weights + h * kMaxBlock);
  } else {
    for (int h = 0; h < kHeads; h += 2) {
      const auto &even = sum[h], &odd = sum[h + 1];
      store_sums_of_2_and_2(tag, even[0], even[1], odd[0], odd[1], weights + h * kMaxBlock, kMaxBlock);
    }
  }
}

// Four tokens against all heads. Four heads at a time load and widen a key once for all of them: with 32 registers
// for four tokens, with 16 for two.
template <class Dots>
HWY_INLINE void score_4_tokens(const typename Dots::Key* const* k, const typename Dots::Query* q, int heads,
                               int64_t dim, float* weights) {
  int h = 0;
  if constexpr (HWY_TARGET <= HWY_AVX3) {
    for (; heads - h >= 4; h += 4) score_tile<4, 4, Dots>(k, q + h * dim, dim, weights + h * kMaxBlock);
  } else if constexpr (HWY_TARGET <= HWY_AVX2) {
    for (; heads - h >= 4; h += 4) {
      score_tile<4, 2, Dots>(k, q + h * dim, dim, weights + h * kMaxBlock);
      score_tile<4, 2, Dots>(k + 2, q + h * dim, dim, weights + h * kMaxBlock + 2);
    }
  }
  if (heads - h == 3) return score_tile<3, 4, Dots>(k, q + h * dim, dim, weights + h * kMaxBlock);
  for (; heads - h >= 2; h += 2) score_tile<2, 4, Dots>(k, q + h * dim, dim, weights + h * kMaxBlock);
  if (heads > h) score_tile<1, 4, Dots>(k, q + h * dim, dim, weights + h * kMaxBlock);
}

template <class Dots>
void scores(const DecodeChunk& c, const typename Dots::Query* q, int heads, Workspace& w) {
  using Key = typename Dots::Key;
  const int64_t row_bytes = c.kv->token_bytes();
  for (int t = 0; t < w.block->count; t += 4) {
    for (int row = 0; row < 2; ++row) fetch_row(w, row_bytes);  // half of the next block in all
    score_4_tokens<Dots>(reinterpret_cast<const Key* const*>(w.block->rows + t), q, heads, c.kv->head_dim,
                         w.weights[0] + t);
  }
}

// Scores become weights; the running maximum and sum at the end of each head's state move on. Heads go together to
// hide one another's latency. Weights of rows with scales are stored times those of their values.
template <int kHeads, typename T, class D>
void softmax_heads(D d, Workspace& w, const RowScales& scales, int first_head, int64_t dim, float* state,
                   int64_t stride) {
  const int lanes = static_cast<int>(hn::Lanes(d)), count = w.block->count;
  float(*weights)[kMaxBlock] = w.weights + first_head;
  const hn::RebindToSigned<D> d32;
  hn::Vec<D> highest[kHeads], total[kHeads];
  [[maybe_unused]] hn::Vec<D> least[kHeads];
  [[maybe_unused]] hn::Vec<decltype(d32)> peak[kHeads];
  for (int h = 0; h < kHeads; ++h) {
    for (int i = count; i % lanes != 0; ++i) weights[h][i] = -std::numeric_limits<float>::infinity();
    highest[h] = hn::Set(d, state[h * stride + dim]);
    total[h] = least[h] = hn::Zero(d);
    peak[h] = hn::Zero(d32);
  }
  for (int i = 0; i < count; i += lanes)
    for (int h = 0; h < kHeads; ++h) highest[h] = hn::Max(highest[h], hn::Load(d, weights[h] + i));
  for (int h = 0; h < kHeads; ++h) highest[h] = hn::MaxOfLanes(d, highest[h]);
  for (int i = 0; i < count; i += lanes) {
    for (int h = 0; h < kHeads; ++h) {
      auto weight = exp2_nonpositive(d, hn::Sub(hn::Load(d, weights[h] + i), highest[h]));
      total[h] = hn::Add(total[h], weight);
      if constexpr (std::is_same_v<T, ByteNibble>)
        least[h] = hn::MulAdd(weight, hn::Load(d, scales.least + i), least[h]);
      if constexpr (kHasScales<T>) {
        weight = hn::Mul(weight, hn::Load(d, scales.value + i));
        peak[h] = greater_bits(d, peak[h], weight);
      }
      hn::Store(weight, d, weights[h] + i);
    }
  }
  for (int h = 0; h < kHeads; ++h) {
    float &max = state[h * stride + dim], &sum = state[h * stride + dim + 1];
    const float rescale = hn::GetLane(exp2_nonpositive(d, hn::Sub(hn::Set(d, max), highest[h])));
    max = hn::GetLane(highest[h]);
    sum = sum * rescale + hn::GetLane(hn::SumOfLanes(d, total[h]));
    w.rescale[first_head + h] = rescale;
    if constexpr (kHasScales<T>) w.peak[first_head + h] = hn::GetLane(hn::BitCast(d, hn::MaxOfLanes(d32, peak[h])));
    if constexpr (std::is_same_v<T, ByteNibble>) w.least[first_head + h] = hn::GetLane(hn::SumOfLanes(d, least[h]));
  }
}

template <typename T, class D>
void softmax_step(D d, Workspace& w, const RowScales& scales, int heads, int64_t dim, float* state, int64_t stride) {
  int h = 0;
  for (; heads - h >= 4; h += 4) softmax_heads<4, T>(d, w, scales, h, dim, state + h * stride, stride);
  for (; heads - h >= 1; h += 1) softmax_heads<1, T>(d, w, scales, h, dim, state + h * stride, stride);
}

// state[head][at...] = state * rescale + sum over the block of weight * v, for a tile of kHeads x kVectors.
template <int kHeads, int kVectors, class D, typename T>
HWY_INLINE void value_tile(D d, Workspace& w, const ValueTile& tile) {
  float* state = tile.state + tile.at;
  const int64_t stride = tile.stride;
  const size_t lanes = hn::Lanes(d);
  hn::Vec<D> sum[kHeads][kVectors];
  for (int h = 0; h < kHeads; ++h)
    for (int v = 0; v < kVectors; ++v)
      sum[h][v] = hn::MulAdd(hn::LoadU(d, state + h * stride + v * lanes), hn::Set(d, w.rescale[tile.first_head + h]),
                             hn::Set(d, w.least[tile.first_head + h]));
  const float* weights = w.weights[tile.first_head];
  const int count = w.block->count, piece = (count + tile.rows - 1) / tile.rows;
  for (int t = 0; t < count;) {
    fetch_row(w, tile.row_bytes);
    const int end = std::min(t + piece, count);
#pragma GCC unroll 4
    for (; t < end; ++t) {
      hn::Vec<D> value[kVectors];
      for (int v = 0; v < kVectors; ++v)
        value[v] = load_values<T>(d, w.block->rows[t], tile.dim, tile.at + v * static_cast<int64_t>(lanes));
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
  tile.rows = tile_rows(tile.rows, kVectors * lanes, tile.dim);
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

// kBytes: rows with scales in products of integers.
template <bool kBytes, class D, typename T>
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
  const int64_t row_bytes = c.kv->token_bytes();
  while (w.fetched < w.next->count) fetch_row(w, row_bytes);
  using Dots = std::conditional_t<kBytes, ByteDots, FloatDots<D, KeyOf<T>>>;
  [[maybe_unused]] ByteWork bytes;
  RowScales scales;
  if constexpr (kBytes) round_queries(q, heads, dim, bytes);
  for (int64_t at = c.begin; at < c.end; at += most) {
    std::swap(w.block, w.next);
    std::swap(w.next, w.later);
    w.fetched = 0;
    gather(c, at + 2 * most, most, *w.later);
    if constexpr (kBytes) {
      scores<Dots>(c, bytes.query, heads, w);
    } else {
      scores<Dots>(c, q, heads, w);
    }
    const hn::ScalableTag<float> widest;
    if constexpr (kHasScales<T>) {
      read_scales(*c.kv, w, scales);
      multiply_scales(w, heads, scales, kBytes ? bytes.query_scale : nullptr);
    }
    for (int h = 0; c.cap > 0 && h < heads; ++h) soft_cap_span(w.weights[h], w.block->count, c.cap);
    softmax_step<T>(widest, w, scales, heads, dim, state, stride);
    if constexpr (kBytes) {
      round_weights(w, heads, bytes);
      byte_values<T>(*c.kv, w, bytes, heads, state);
    } else {
      values<D, T>(d, *c.kv, w, heads, state);
    }
  }
}

template <typename T>
void attend_heads(const DecodeChunk& c) {
  const hn::ScalableTag<float> d;
  const int columns = c.kv->head_dim / (std::is_same_v<T, ByteNibble> ? 2 : 1);  // that lie in one run
  for (int h = 0; h < c.group; h += kMaxHeads) {
    const int heads = std::min(c.group - h, kMaxHeads);
    if (in_integers<T>(c.kv->head_dim)) {
      attend<HWY_MAX_BYTES >= 32 && kHasScales<T>, decltype(d), T>(d, c, h, heads);
    } else if (columns % static_cast<int>(hn::Lanes(d)) == 0) {
      attend<false, decltype(d), T>(d, c, h, heads);
    } else {  // a multiple of 8, not of 16: half of the widest vector
      attend<false, hn::CappedTag<float, 8>, T>({}, c, h, heads);
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
    case DType::kI8I4:
      return attend_heads<ByteNibble>(c);
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
