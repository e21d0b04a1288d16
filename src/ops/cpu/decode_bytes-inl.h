// Rows of bytes in decode_chunk: products of integers, exact, with queries and weights rounded to 16 bits of the
// largest one of a head (of a head and a block). A multiply-add of int16 pairs does twice the products of an f32 one,
// and a byte is widened to it in one step instead of two. Included once per Highway target, after decode_block-inl.h.
#if defined(LOWKEY_OPS_CPU_DECODE_BYTES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOWKEY_OPS_CPU_DECODE_BYTES_INL_H_
#undef LOWKEY_OPS_CPU_DECODE_BYTES_INL_H_
#else
#define LOWKEY_OPS_CPU_DECODE_BYTES_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "ops/cpu/decode_block-inl.h"
#include "ops/cpu/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lowkey {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr int kMaxByteDim = 256;

struct ByteWork {
  alignas(64) int16_t query[kMaxHeads * kMaxByteDim];  // [heads, D]
  alignas(64) int16_t weights[kMaxHeads][kMaxBlock];
  float query_scale[kMaxHeads], weight_scale[kMaxHeads];
};

// Of the block's rows; zeros up to a whole vector.
struct RowScales {
  alignas(64) float key[kMaxBlock], value[kMaxBlock];
  alignas(64) float least[kMaxBlock];  // of kI8I4
};

HWY_INLINE void read_scales(const KvPages& kv, const Workspace& w, RowScales& scales) {
  const int lanes = static_cast<int>(hn::Lanes(hn::ScalableTag<float>())), count = w.block->count;
  const int64_t at = kv.scale_offset();
  const bool nibbles = kv.dtype == DType::kI8I4;
  for (int t = 0; t < count; ++t) {
    scales.key[t] = row_float(w.block->rows[t], at, 0);
    scales.value[t] = row_float(w.block->rows[t], at, 1);
    if (nibbles) scales.least[t] = row_float(w.block->rows[t], at, 2);
  }
  for (int t = count; t % lanes != 0; ++t) scales.key[t] = scales.value[t] = scales.least[t] = 0.f;
}

// Scores times the scales of their keys and their queries.
HWY_INLINE void multiply_scales(Workspace& w, int heads, const RowScales& scales, const float* of_heads) {
  const hn::ScalableTag<float> d;
  const int lanes = static_cast<int>(hn::Lanes(d)), count = w.block->count;
  for (int h = 0; h < heads; ++h) {
    const auto of_head = hn::Set(d, of_heads ? of_heads[h] : 1.f);
    for (int t = 0; t < count; t += lanes) {
      const auto factor = hn::Mul(hn::Load(d, scales.key + t), of_head);
      hn::Store(hn::Mul(hn::Load(d, w.weights[h] + t), factor), d, w.weights[h] + t);
    }
  }
}

#if HWY_MAX_BYTES < 32

using ByteDots = void;  // rows of bytes as those of floats
template <typename T>
HWY_INLINE bool in_integers(int64_t) {
  return false;
}
HWY_INLINE void round_queries(const float*, int, int64_t, ByteWork&) {}
HWY_INLINE void round_weights(const Workspace&, int, ByteWork&) {}
template <typename T>
HWY_INLINE void byte_values(const KvPages&, Workspace&, const ByteWork&, int, float*) {}

#else

struct ByteDots {
  using D16 = hn::ScalableTag<int16_t>;
  using D32 = hn::ScalableTag<int32_t>;
  using V16 = hn::Vec<D16>;
  using Key = int8_t;
  using Query = int16_t;
  using SumTag = D32;  // of all lanes, too: less than 2^31 up to kMaxByteDim
  using Sum = hn::Vec<D32>;
  static constexpr int64_t kStep = hn::MaxLanes(D16());
  HWY_INLINE static Sum zero() { return hn::Zero(D32()); }
  HWY_INLINE static V16 query(const int16_t* q) { return hn::Load(D16(), q); }
  HWY_INLINE static V16 key(const int8_t* k) { return hn::PromoteTo(D16(), hn::LoadU(hn::Rebind<int8_t, D16>(), k)); }
  // A pair is 2^23 at most: no sum over less than 2^8 of them leaves int32.
  HWY_INLINE static Sum add(V16 key, V16 query, Sum sum) {
    Sum unused = hn::Zero(D32());
    return hn::ReorderWidenMulAccumulate(D32(), key, query, sum, unused);
  }
};

// Whole vectors of the values' columns; of kI8I4 in each half of D, which is in one half of the bytes.
template <typename T>
HWY_INLINE bool in_integers(int64_t dim) {
  if (!kHasScales<T> || dim > kMaxByteDim) return false;
  return dim % (std::is_same_v<T, ByteNibble> ? 2 * ByteDots::kStep : ByteDots::kStep) == 0;
}

// q = round(x / scale), the largest one 32767; the scale. `highest` is the size of the largest x; NaN where that is no
// finite number.
HWY_INLINE float round_words(const float* x, int64_t n, float highest, int16_t* q) {
  const hn::ScalableTag<float> d;
  const hn::RebindToSigned<decltype(d)> d32;
  const hn::Rebind<int16_t, decltype(d)> d16;
  if (!(highest < std::numeric_limits<float>::infinity())) {
    std::fill_n(q, n, int16_t{0});
    return std::numeric_limits<float>::quiet_NaN();
  }
  const auto inverse = hn::Set(d, highest >= 1e-30f ? 32767.f / highest : 0.f);
  const auto magic = hn::Set(d, 0x1.8p23f);  // adding it leaves the rounded number in the low bits
  for (int64_t i = 0; i < n; i += static_cast<int64_t>(hn::Lanes(d))) {
    const auto shifted = hn::MulAdd(hn::LoadU(d, x + i), inverse, magic);
    const auto rounded = hn::Sub(hn::BitCast(d32, shifted), hn::BitCast(d32, magic));
    hn::StoreU(hn::DemoteTo(d16, rounded), d16, q + i);
  }
  return highest / 32767.f;
}

HWY_INLINE void round_queries(const float* q, int heads, int64_t dim, ByteWork& bytes) {
  const hn::ScalableTag<float> d;
  const hn::RebindToSigned<decltype(d)> d32;
  for (int h = 0; h < heads; ++h, q += dim) {
    auto peak = hn::Zero(d32);
    for (int64_t i = 0; i < dim; i += static_cast<int64_t>(hn::Lanes(d)))
      peak = greater_bits(d, peak, hn::LoadU(d, q + i));
    const float highest = hn::GetLane(hn::BitCast(d, hn::MaxOfLanes(d32, peak)));
    bytes.query_scale[h] = round_words(q, dim, highest, bytes.query + h * dim);
  }
}

// Of the block's tokens, times the scales of their values; zeros up to a whole vector.
HWY_INLINE void round_weights(const Workspace& w, int heads, ByteWork& bytes) {
  for (int h = 0; h < heads; ++h)
    bytes.weight_scale[h] = round_words(w.weights[h], w.block->count, w.peak[h], bytes.weights[h]);
}

// out = out * rescale + least + sum * scale; `sum` holds of every eight columns the first four in [0], the others in
// [1].
HWY_INLINE void add_columns(const ByteDots::Sum (&sum)[2], float scale, float rescale, float least, float* out) {
  using D32 = ByteDots::D32;
  const hn::ScalableTag<float> d;
  ByteDots::Sum ordered[2] = {hn::ConcatLowerLower(D32(), sum[1], sum[0]), hn::ConcatUpperUpper(D32(), sum[1], sum[0])};
  if constexpr (hn::MaxLanes(d) == 16) {
    alignas(64) static constexpr int32_t kOrder[16] = {0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15};
    for (auto& half : ordered) half = hn::TableLookupLanes(half, hn::SetTableIndices(D32(), kOrder));
  }
  for (int i = 0; i < 2; ++i, out += hn::Lanes(d)) {
    const auto kept = hn::MulAdd(hn::LoadU(d, out), hn::Set(d, rescale), hn::Set(d, least));
    hn::StoreU(hn::MulAdd(hn::ConvertTo(d, ordered[i]), hn::Set(d, scale), kept), d, out);
  }
}

// Numbers of values at `x`: kI8's; of kI8I4 what `mask` leaves of two, so either is 16 times what it is as the upper.
template <typename T>
HWY_INLINE ByteDots::V16 value_words(const std::byte* x, ByteDots::V16 mask) {
  using D16 = ByteDots::D16;
  if constexpr (std::is_same_v<T, ByteNibble>) {
    const auto pairs = hn::LoadU(hn::Rebind<uint8_t, D16>(), reinterpret_cast<const uint8_t*>(x));
    return hn::And(hn::PromoteTo(D16(), pairs), mask);
  } else {
    return ByteDots::key(reinterpret_cast<const int8_t*>(x));
  }
}

// state[head][at...] = state * rescale + sum over the block of weight * v, for kStep columns of kHeads heads; two
// tokens at a time.
template <int kHeads, typename T>
HWY_INLINE void byte_value_tile(Workspace& w, const ByteWork& bytes, const ValueTile& tile) {
  using Dots = ByteDots;
  Dots::Sum sum[kHeads][2];
  for (auto& row : sum) row[0] = row[1] = Dots::zero();
  const int16_t* weights = bytes.weights[tile.first_head];
  const int count = w.block->count, piece = (count + 2 * tile.rows - 1) / (2 * tile.rows) * 2;
  const bool upper = std::is_same_v<T, ByteNibble> && tile.at >= tile.dim / 2;
  const int64_t column = tile.dim + tile.at - (upper ? tile.dim / 2 : 0);
  const auto mask = hn::Set(Dots::D16(), static_cast<int16_t>(upper ? 0xf0 : 0x0f));
  const auto words = [&](int t) HWY_ATTR { return value_words<T>(w.block->rows[t] + column, mask); };
  for (int t = 0; t < count;) {
    fetch_row(w, tile.row_bytes);
    const int end = std::min(t + piece, count);
    for (; t < end; t += 2) {
      const auto even = words(t), odd = words(t + 1);
      const auto first = hn::InterleaveLower(Dots::D16(), even, odd);
      const auto second = hn::InterleaveUpper(Dots::D16(), even, odd);
      for (int h = 0; h < kHeads; ++h) {
        int32_t pair;
        std::memcpy(&pair, weights + h * kMaxBlock + t, sizeof(pair));
        const auto weight = hn::BitCast(Dots::D16(), hn::Set(Dots::D32(), pair));
        sum[h][0] = Dots::add(first, weight, sum[h][0]);
        sum[h][1] = Dots::add(second, weight, sum[h][1]);
      }
    }
  }
  for (int h = 0; h < kHeads; ++h) {
    const int head = tile.first_head + h;
    const float scale = bytes.weight_scale[head] * (upper ? 0x1p-4f : 1.f);
    add_columns(sum[h], scale, w.rescale[head], w.least[head], tile.state + h * tile.stride + tile.at);
  }
}

template <int kHeads, typename T>
HWY_INLINE void byte_value_rows(Workspace& w, const ByteWork& bytes, ValueTile tile) {
  tile.rows = tile_rows(tile.rows, ByteDots::kStep, tile.dim);
  for (; tile.at < tile.dim; tile.at += ByteDots::kStep) byte_value_tile<kHeads, T>(w, bytes, tile);
}

template <typename T>
HWY_INLINE void byte_values(const KvPages& kv, Workspace& w, const ByteWork& bytes, int heads, float* state) {
  const int64_t dim = kv.head_dim, stride = state_floats(dim);
  const int parts = (heads + 3) / 4, rows = (w.next->count / 2 + parts - 1) / parts;
  for (int h = 0; h < heads; h += 4) {
    const ValueTile tile{h, rows, dim, 0, kv.token_bytes(), state + h * stride, stride};
    switch (std::min(heads - h, 4)) {
      case 4:
        byte_value_rows<4, T>(w, bytes, tile);
        break;
      case 3:
        byte_value_rows<3, T>(w, bytes, tile);
        break;
      case 2:
        byte_value_rows<2, T>(w, bytes, tile);
        break;
      default:
        byte_value_rows<1, T>(w, bytes, tile);
    }
  }
}

#endif  // HWY_TARGET

}  // namespace HWY_NAMESPACE
}  // namespace lowkey
HWY_AFTER_NAMESPACE();

#endif
