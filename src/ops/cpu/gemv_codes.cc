// gemv of the types of up to 6 bits against activations of 8 bits: unsigned codes times signed bytes, four products to
// an int32, exactly. What scales and mins do is floats', once for 32 elements: sum of x (scale * code - min) is
// scale * (sum of x * code) - min * (sum of x), and the sums of x are made once for all rows of w.
#include <algorithm>
#include <cstring>

#include "ops/cpu/gemv.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/gemv_codes.cc"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "ops/cpu/codes-inl.h"
#include "ops/quantize.h"

HWY_BEFORE_NAMESPACE();
namespace lowkey::HWY_NAMESPACE {
namespace {

#if HWY_MAX_BYTES < 32

// Without vectors of 32 bytes: as the reference, in f32, a block at a time.
void gemv_codes(const Activations& a, const GemvPiece& p) {
  const int step = block_elements(p.type);
  const int64_t row_size = row_bytes(p.type, a.depth);
  for (int64_t n = p.begin; n < p.end; ++n) {
    float sums[kGemvRows] = {};
    for (int64_t k = 0; k < a.depth; k += step) {
      float w[kSuperBlock];
      ref::dequantize_row(p.type, p.w + n * row_size + row_bytes(p.type, k), w, step);
      for (int64_t t = 0; t < a.rows; ++t)
        for (int i = 0; i < step; ++i) sums[t] += w[i] * a.x[t * a.depth + k + i];
    }
    for (int64_t t = 0; t < a.rows; ++t) p.out[t * p.outputs + n] = sums[t];
  }
}

void quantize_bytes(const float*, const ByteRow&, int64_t) {}

#else

namespace hn = hwy::HWY_NAMESPACE;
using codes::D32;
using codes::DF;
using codes::DI8;
using codes::VF;

void quantize_bytes(const float* x, const ByteRow& out, int64_t depth) {
  const hn::Rebind<int8_t, D32> d8;
  for (int64_t b = 0; b < out.blocks; ++b, x += kQuantBlock) {
    int8_t* q = out.q + b * kQuantBlock;
    if (b * kQuantBlock >= depth) {
      std::memset(q, 0, kQuantBlock);
      out.scale[b] = out.sum[b] = out.sum[out.blocks + b] = 0;
      continue;
    }
    VF peak = hn::Zero(DF());
    for (int i = 0; i < kQuantBlock; i += 8) peak = hn::Max(peak, hn::Abs(hn::LoadU(DF(), x + i)));
    const float amax = hn::GetLane(hn::MaxOfLanes(DF(), peak));
    const VF inverse = hn::Set(DF(), amax < 1e-30f ? 0.f : kByteMax / amax);  // below it overflows
    out.scale[b] = amax / kByteMax;
    for (int h = 0; h < 2; ++h) {
      auto sum = hn::Zero(D32());
      for (int i = 16 * h; i < 16 * h + 16; i += 8) {
        const auto rounded = hn::NearestInt(hn::Mul(hn::LoadU(DF(), x + i), inverse));
        hn::StoreU(hn::DemoteTo(d8, rounded), d8, q + i);
        sum = hn::Add(sum, rounded);
      }
      out.sum[h * out.blocks + b] = out.scale[b] * static_cast<float>(hn::GetLane(hn::SumOfLanes(D32(), sum)));
    }
  }
}

// No pair of products leaves int16: a code is 63 at most.
HWY_INLINE hn::Vec<D32> dot_4(codes::VU8 code, hn::Vec<DI8> x) {
  const hn::Vec<codes::D16> pairs{_mm256_maddubs_epi16(code.raw, x.raw)};
  return hn::Vec<D32>{_mm256_madd_epi16(pairs.raw, hn::Set(codes::D16(), 1).raw)};
}

// A group of 8 blocks of one row of w, and what multiplies it.
template <int kT>
struct Group {
  const uint8_t* w;
  const int8_t* x[kT];
  HWY_ALIGN float scale[kT][2][codes::kBlocks];  // of the weights times of the activations
};

// Block b of the group, which is block kBlock of what lies at w.
template <class Q, int kBlock, int kT>
HWY_INLINE void add_block(const Group<kT>& g, const uint8_t* w, int b, VF (&sums)[kT][2]) {
  const hn::Half<DF> half;
  const codes::VU8 code = Q::template codes<kBlock>(w);
  for (int t = 0; t < kT; ++t) {
    const auto dot = hn::ConvertTo(DF(), dot_4(code, hn::LoadU(DI8(), g.x[t] + b * kQuantBlock)));
    VF scale;
    if constexpr (Q::kHalves == 2) {
      scale = hn::Combine(DF(), hn::Set(half, g.scale[t][1][b]), hn::Set(half, g.scale[t][0][b]));
    } else {
      scale = hn::Set(DF(), g.scale[t][0][b]);
    }
    sums[t][kBlock % 2] = hn::MulAdd(dot, scale, sums[t][kBlock % 2]);
  }
}

template <class Q, int kT>
HWY_INLINE void add_blocks(const Group<kT>& g, VF (&sums)[kT][2]) {
  add_block<Q, 0>(g, g.w, 0, sums);
  add_block<Q, 1>(g, g.w, 1, sums);
  add_block<Q, 2>(g, g.w, 2, sums);
  add_block<Q, 3>(g, g.w, 3, sums);
  add_block<Q, 4>(g, g.w, 4, sums);
  add_block<Q, 5>(g, g.w, 5, sums);
  add_block<Q, 6>(g, g.w, 6, sums);
  add_block<Q, 7>(g, g.w, 7, sums);
}

// The scales of a group; takes the mins' part off the sums.
template <class Q, int kT>
HWY_INLINE void open_group(const codes::Scales& s, const Activations& a, int64_t first, Group<kT>& g,
                           VF (&sums)[kT][2]) {
  const int64_t blocks = a.byte_blocks();
  for (int t = 0; t < kT; ++t) {
    g.x[t] = a.bytes + (t * blocks + first) * kQuantBlock;
    const VF of_row = hn::LoadU(DF(), a.byte_scale + t * blocks + first);
    const float* sum = a.byte_sum + 2 * t * blocks + first;
    const VF sum0 = hn::LoadU(DF(), sum), sum1 = hn::LoadU(DF(), sum + blocks);
    for (int h = 0; h < Q::kHalves; ++h) {
      hn::Store(hn::Mul(s.scale[h], of_row), DF(), g.scale[t][h]);
      const VF min = Q::kOffset == 0 ? s.min[h] : hn::Mul(s.scale[h], hn::Set(DF(), Q::kOffset));
      const VF sum_of_x = Q::kHalves == 1 ? hn::Add(sum0, sum1) : h == 0 ? sum0 : sum1;
      sums[t][h] = hn::NegMulAdd(min, sum_of_x, sums[t][h]);
    }
  }
}

// Bytes ahead of the reader that are asked for, as in gemv.cc.
constexpr int64_t kPrefetchBytes = 8192;

template <class Q, int kT>
void dot_row(const uint8_t* w, const Activations& a, float (&out)[kT]) {
  const int64_t blocks = a.depth / kQuantBlock;
  VF sums[kT][2];
  for (auto& row : sums) row[0] = row[1] = hn::Zero(DF());
  Group<kT> g;
  for (int64_t first = 0; first < blocks; first += codes::kBlocks, w += Q::kBytes) {
    for (int i = 0; i < Q::kBytes; i += 64) hwy::Prefetch(w + i + kPrefetchBytes);
    const int count = static_cast<int>(std::min<int64_t>(codes::kBlocks, blocks - first));
    g.w = w;
    open_group<Q, kT>(Q::scales(w, count), a, first, g, sums);
    if (Q::kSuper || count == codes::kBlocks) {
      add_blocks<Q, kT>(g, sums);
    } else {
      for (int b = 0; b < count; ++b) add_block<Q, 0>(g, w + b * (Q::kBytes / codes::kBlocks), b, sums);
    }
  }
  for (int t = 0; t < kT; ++t) out[t] = hn::GetLane(hn::SumOfLanes(DF(), hn::Add(sums[t][0], sums[t][1])));
}

template <class Q, int kT>
void gemv_rows(const Activations& a, const GemvPiece& p, int64_t t0) {
  const int64_t row_size = row_bytes(p.type, a.depth);
  const Activations from = a.from_row(t0);
  for (int64_t n = p.begin; n < p.end; ++n) {
    float sums[kT];
    dot_row<Q, kT>(reinterpret_cast<const uint8_t*>(p.w) + n * row_size, from, sums);
    for (int t = 0; t < kT; ++t) p.out[(t0 + t) * p.outputs + n] = sums[t];
  }
}

void gemv_codes(const Activations& a, const GemvPiece& p) {
  codes::visit(p.type, [&](auto q) {
    using Q = decltype(q);
    int64_t t = 0;
    for (; t + 4 <= a.rows; t += 4) gemv_rows<Q, 4>(a, p, t);
    for (; t + 2 <= a.rows; t += 2) gemv_rows<Q, 2>(a, p, t);
    for (; t < a.rows; ++t) gemv_rows<Q, 1>(a, p, t);
  });
}

#endif  // HWY_TARGET

}  // namespace
}  // namespace lowkey::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lowkey {

HWY_EXPORT(gemv_codes);
HWY_EXPORT(quantize_bytes);

void gemv_codes(const Activations& a, const GemvPiece& piece) noexcept { HWY_DYNAMIC_DISPATCH(gemv_codes)(a, piece); }

void quantize_bytes(const float* x, const ByteRow& out, int64_t depth) noexcept {
  HWY_DYNAMIC_DISPATCH(quantize_bytes)(x, out, depth);
}

}  // namespace lowkey
#endif
