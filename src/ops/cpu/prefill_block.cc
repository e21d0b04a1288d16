// Everything is computed transposed: scores as [key, query], sums as [d, query], queries across the lanes. Then both
// products take their left operand, keys and values, as it lies in the cache, broadcast element by element; the
// maximum and the sum of the softmax run down the lanes with no reduction across them; and only the queries, which
// are read once, need transposing.
//
// One panel of queries (two vectors) against one block of keys:
//   scores [keys, queries] = K [keys, D] q^T [D, queries]; weights = 2^(scores - max); out^T [D, queries] += V^T
//   weights
#include "ops/cpu/prefill_block.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <type_traits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/prefill_block.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "ops/cpu/lanes-inl.h"
#include "ops/cpu/soft_cap-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lowkey {
namespace HWY_NAMESPACE {
namespace {

constexpr int kKeys = 96;  // keys of a block: with values, 96 KiB of f32 at D = 128, a fraction of an L2 cache
constexpr int kTile = 6;   // rows of a register tile: 6 x 2 sums, two operands and one broadcast fill 16 registers

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;
constexpr int kLanes = static_cast<int>(hn::MaxLanes(D()));
constexpr int kPanel = 2 * kLanes;  // queries of a panel

// Rows of converted keys and values lie this many floats apart: not a power of two, which would put a column of
// them into a few sets of the L1 cache.
constexpr int64_t row_stride(int64_t dim) { return dim + 16; }

struct Panel {
  float* q;             // [D, kPanel], times scale * log2(e)
  float* out;           // [D, kPanel], sum of weight * v
  float* max;           // [kPanel]
  float* sum;           // [kPanel], of the weights
  int64_t first, last;  // positions of its first and last query
};

struct Workspace {
  float* keys;     // [kKeys, row_stride]
  float* values;   // [kKeys, row_stride]
  float* weights;  // [kKeys, kPanel]
  float* rescale;  // [kPanel]
  float* panels;   // panel_floats(D) each

  Workspace(float* scratch, int64_t dim)
      : keys(scratch),
        values(keys + kKeys * row_stride(dim)),
        weights(values + kKeys * row_stride(dim)),
        rescale(weights + kKeys * kPanel),
        panels(rescale + kPanel) {}
};

constexpr int64_t panel_floats(int64_t dim) { return (2 * dim + 2) * kPanel; }

int64_t scratch_bytes(int64_t rows, int64_t dim) {
  const int64_t panels = (rows + kPanel - 1) / kPanel;
  return 4 * (2 * kKeys * row_stride(dim) + (kKeys + 1) * kPanel + panels * panel_floats(dim));
}

Panel panel_at(const PrefillBlock& b, const PrefillRows& rows, const Workspace& w, int64_t begin) {
  float* at = w.panels + (begin - b.begin) / kPanel * panel_floats(rows.dim);
  const int64_t last = std::min(begin + kPanel, b.end) - 1;
  float *out = at + rows.dim * kPanel, *max = out + rows.dim * kPanel;
  return {at, out, max, max + kPanel, rows.position(begin), rows.position(last)};
}

// Queries past the end of the block are zero; their results are not stored.
void start_panel(const PrefillBlock& b, const PrefillRows& rows, int64_t begin, const Panel& p) {
  const float scale = b.args->scale * std::numbers::log2e_v<float>;
  std::fill_n(p.q, rows.dim * kPanel, 0.f);
  std::fill_n(p.out, rows.dim * kPanel, 0.f);
  std::fill_n(p.max, kPanel, -std::numeric_limits<float>::infinity());
  std::fill_n(p.sum, kPanel, 0.f);
  const int count = static_cast<int>(std::min<int64_t>(kPanel, b.end - begin));
  for (int i = 0; i < count; ++i) {
    const float* q = b.args->q.f32() + rows.offset(begin + i);
    for (int64_t d = 0; d < rows.dim; ++d) p.q[d * kPanel + i] = q[d] * scale;
  }
}

void finish_panel(const PrefillBlock& b, const PrefillRows& rows, int64_t begin, const Panel& p) {
  const int count = static_cast<int>(std::min<int64_t>(kPanel, b.end - begin));
  for (int i = 0; i < count; ++i) {
    float* out = b.args->out.f32() + rows.offset(begin + i);
    const float inverse = 1.f / p.sum[i];
    for (int64_t d = 0; d < rows.dim; ++d) out[d] = p.out[d * kPanel + i] * inverse;
    if (b.args->log2_sums) b.args->log2_sums.f32()[rows.offset(begin + i) / rows.dim] = p.max[i] + std::log2(p.sum[i]);
  }
}

template <typename T>
void convert_rows(const KvPages& kv, int head, int64_t begin, int count, const Workspace& w) {
  const hn::CappedTag<float, 8> d;
  const int64_t dim = kv.head_dim, stride = row_stride(dim);
  for (int i = 0; i < count; ++i) {
    const std::byte* row = kv.token(head, begin + i);
    for (int64_t x = 0; x < dim; x += static_cast<int64_t>(hn::Lanes(d))) {
      auto key = load_f32(d, reinterpret_cast<const KeyOf<T>*>(row) + x), value = load_values<T>(d, row, dim, x);
      if constexpr (kHasScales<T>) {
        const auto scale = [&](int part) HWY_ATTR { return hn::Set(d, row_float(row, kv.scale_offset(), part)); };
        key = hn::Mul(key, scale(0));
        value = std::is_same_v<T, ByteNibble> ? hn::MulAdd(value, scale(1), scale(2)) : hn::Mul(value, scale(1));
      }
      hn::StoreU(key, d, w.keys + i * stride + x);
      hn::StoreU(value, d, w.values + i * stride + x);
    }
  }
  for (int i = count; i % kTile != 0; ++i) std::fill_n(w.keys + i * stride, dim, 0.f);  // the last tile reads them
}

// c[kRows][kPanel] = rescale * c + sum over n of a(row, n) * b[n][kPanel], where a(row, n) = a[row * row_step + n *
// n_step].
template <int kRows, bool kAdd>
HWY_INLINE void product_tile(const float* a, int64_t row_step, int64_t n_step, const float* b, int64_t n,
                             const float* rescale, float* c) {
  const D d;
  V sum[kRows][2];
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < 2; ++v) {
      sum[r][v] = hn::Zero(d);
      if (kAdd) sum[r][v] = hn::Mul(hn::Load(d, c + r * kPanel + v * kLanes), hn::Load(d, rescale + v * kLanes));
    }
  }
  for (int64_t i = 0; i < n; ++i) {
    const V b0 = hn::Load(d, b + i * kPanel), b1 = hn::Load(d, b + i * kPanel + kLanes);
    for (int r = 0; r < kRows; ++r) {
      const V x = hn::Set(d, a[r * row_step + i * n_step]);
      sum[r][0] = hn::MulAdd(x, b0, sum[r][0]);
      sum[r][1] = hn::MulAdd(x, b1, sum[r][1]);
    }
  }
  for (int r = 0; r < kRows; ++r)
    for (int v = 0; v < 2; ++v) hn::Store(sum[r][v], d, c + r * kPanel + v * kLanes);
}

void scores(const Workspace& w, const Panel& p, int keys, int64_t dim) {
  const int64_t stride = row_stride(dim);
  for (int k = 0; k < keys; k += kTile)
    product_tile<kTile, false>(w.keys + k * stride, stride, 1, p.q, dim, nullptr, w.weights + k * kPanel);
}

void values(const Workspace& w, const Panel& p, int keys, int64_t dim) {
  const int64_t stride = row_stride(dim);
  int64_t d = 0;
  // D is even and at least 8: tiles of 6, the last one or two of 4.
  for (; (dim - d) % kTile != 0; d += 4)
    product_tile<4, true>(w.values + d, 1, stride, w.weights, keys, w.rescale, p.out + d * kPanel);
  for (; d < dim; d += kTile)
    product_tile<kTile, true>(w.values + d, 1, stride, w.weights, keys, w.rescale, p.out + d * kPanel);
}

// Scores of keys that a query does not see become -infinity, so their weights are exactly zero.
void mask(const PrefillRows& rows, const Workspace& w, int64_t begin_row, int64_t begin_key, int keys) {
  const float lowest = -std::numeric_limits<float>::infinity();
  for (int i = 0; i < kPanel; ++i) {
    const int64_t hidden = std::min<int64_t>(keys, rows.first(begin_row + i) - begin_key);
    const int64_t visible = std::max<int64_t>(0, rows.position(begin_row + i) - begin_key + 1);
    for (int64_t k = 0; k < hidden; ++k) w.weights[k * kPanel + i] = lowest;
    for (int64_t k = visible; k < keys; ++k) w.weights[k * kPanel + i] = lowest;
  }
}

// One vector of queries: scores to weights, the maximum and the sum move on. A query that sees none of the first keys,
// for they lie before its window, has a maximum of -infinity until then: weights and sums of 0.
void softmax(const Workspace& w, const Panel& p, int keys, int vector) {
  const D d;
  const int at = vector * kLanes;
  const V old = hn::Load(d, p.max + at);
  V max = old;
  for (int k = 0; k < keys; ++k) max = hn::Max(max, hn::Load(d, w.weights + k * kPanel + at));
  V sum = hn::Zero(d);
  for (int k = 0; k < keys; ++k) {
    float* weight = w.weights + k * kPanel + at;
    const V x = exp2_nonpositive(d, hn::Sub(hn::Load(d, weight), max));
    hn::Store(x, d, weight);
    sum = hn::Add(sum, x);
  }
  const V rescale = exp2_nonpositive(d, hn::Sub(old, max));
  hn::Store(rescale, d, w.rescale + at);
  hn::Store(max, d, p.max + at);
  hn::Store(hn::MulAdd(hn::Load(d, p.sum + at), rescale, sum), d, p.sum + at);
}

template <typename T>
void attend(const PrefillBlock& b) {
  const KvPages& kv = b.args->kv;
  const PrefillRows rows(*b.args, b.head);
  const Workspace w(reinterpret_cast<float*>(b.scratch), rows.dim);
  for (int64_t r = b.begin; r < b.end; r += kPanel) start_panel(b, rows, r, panel_at(b, rows, w, r));
  const int64_t visible = rows.position(b.end - 1) + 1;
  const float cap = b.args->cap * std::numbers::log2e_v<float>;
  // Blocks of keys begin at the same places whatever the block of rows, and so add up in the same order.
  for (int64_t key = rows.first(b.begin) / kKeys * kKeys; key < visible; key += kKeys) {
    const int keys = static_cast<int>(std::min<int64_t>(kKeys, visible - key));
    convert_rows<T>(kv, b.head, key, keys, w);
    for (int64_t r = b.begin; r < b.end; r += kPanel) {
      const Panel p = panel_at(b, rows, w, r);
      const int64_t last_row = std::min(r + kPanel, b.end) - 1;
      if (p.last < key || rows.first(r) >= key + keys) continue;
      scores(w, p, keys, rows.dim);
      if (cap > 0) soft_cap_span(w.weights, int64_t{keys} * kPanel, cap);
      if (key + keys - 1 > p.first || key < rows.first(last_row)) mask(rows, w, r, key, keys);
      softmax(w, p, keys, 0);
      softmax(w, p, keys, 1);
      values(w, p, keys, rows.dim);
    }
  }
  for (int64_t r = b.begin; r < b.end; r += kPanel) finish_panel(b, rows, r, panel_at(b, rows, w, r));
}

void prefill_block(const PrefillBlock& b) {
  switch (b.args->kv.dtype) {
    case DType::kF32:
      return attend<float>(b);
    case DType::kF16:
      return attend<hwy::float16_t>(b);
    case DType::kI8:
      return attend<int8_t>(b);
    case DType::kI8I4:
      return attend<ByteNibble>(b);
    default:
      return attend<hwy::bfloat16_t>(b);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lowkey
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lowkey {

HWY_EXPORT(scratch_bytes);
HWY_EXPORT(prefill_block);

int64_t prefill_block_scratch(int64_t rows, int64_t head_dim) noexcept {
  return HWY_DYNAMIC_DISPATCH(scratch_bytes)(rows, head_dim);
}

void prefill_block(const PrefillBlock& b) noexcept { HWY_DYNAMIC_DISPATCH(prefill_block)(b); }

}  // namespace lowkey
#endif
