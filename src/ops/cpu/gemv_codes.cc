// gemv of the types of up to 6 bits against activations of 8 bits: unsigned codes times signed bytes, exactly, in
// int32. What offsets and mins take off is a product with sums of x, which are made once for all rows of w.
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

#else

namespace hn = hwy::HWY_NAMESPACE;
using codes::D16;
using codes::D32;
using codes::DF;
using codes::DI8;
using codes::V16;
using codes::V32;
using codes::VF;
using codes::VU8;

// Of neighbours, unsigned codes times signed bytes: no pair leaves int16, a code being 127 at most as it lies.
HWY_INLINE V16 pair_products(VU8 code, const int8_t* x) {
  return V16{_mm256_maddubs_epi16(code.raw, hn::Load(DI8(), x).raw)};
}

HWY_INLINE V32 pair_sums(V16 a, V16 b) { return V32{_mm256_madd_epi16(a.raw, b.raw)}; }

// Adds 16 products with the scales of block kBlock to each half of the lanes.
template <int kBlock>
HWY_INLINE V32 add_scaled(V16 products, V16 scale, V32 sum) {
  const VU8 both = hn::BitCast(codes::DU8(), hn::Set(D16(), kBlock * 0x202 + 0x100));
  return hn::Add(sum, pair_sums(products, hn::TableLookupBytes(scale, hn::BitCast(D16(), both))));
}

template <class Q, int kHalf, int kT>
HWY_INLINE void add_half(const uint8_t* w, const ByteGroup* x, int64_t stride, const V16 (&scale)[kT],
                         V32 (&dot)[kT][2]) {
  VU8 code[4];
  Q::template codes<kHalf>(w, code);
  constexpr int kFirst = kHalf * 4;
  for (int t = 0; t < kT; ++t) {
    const int8_t* q = x[t * stride].q + kFirst * kQuantBlock;
    dot[t][0] = add_scaled<kFirst>(pair_products(code[0], q), scale[t], dot[t][0]);
    dot[t][1] = add_scaled<kFirst + 1>(pair_products(code[1], q + 32), scale[t], dot[t][1]);
    dot[t][0] = add_scaled<kFirst + 2>(pair_products(code[2], q + 64), scale[t], dot[t][0]);
    dot[t][1] = add_scaled<kFirst + 3>(pair_products(code[3], q + 96), scale[t], dot[t][1]);
  }
}

// A block of 256, of kQ*_K: scales times shares weigh the products in int32, and floats are met once.
template <class Q, int kT>
HWY_INLINE void add_group(const uint8_t* w, const ByteGroup* x, int64_t stride, VF (&sums)[kT]) {
  constexpr int kTop = Q::kRaised[3];  // blocks whose codes are raised by less have scales raised by the rest
  constexpr auto kUp = [](int run) { return static_cast<int16_t>(1 << (kTop - Q::kRaised[run])); };
  alignas(16) static constexpr int16_t kLift[8] = {kUp(0), kUp(1), kUp(2), kUp(3), kUp(0), kUp(1), kUp(2), kUp(3)};
  const codes::Factors f = Q::factors(w);
  V16 scale[kT];
  V32 dot[kT][2];
  for (int t = 0; t < kT; ++t) {
    const ByteGroup& of_x = x[t * stride];
    const V16 share = codes::twice(of_x.share), min = hn::Mul(f.min, share);
    scale[t] = hn::Mul(f.scale, share);
    if constexpr (kTop > 0) scale[t] = hn::Mul(scale[t], codes::twice(kLift));
    const VF below = hn::ConvertTo(DF(), pair_sums(min, hn::Load(D16(), of_x.sum[0])));
    sums[t] = hn::NegMulAdd(hn::Mul(f.m, hn::Set(DF(), of_x.unit)), below, sums[t]);
    dot[t][0] = dot[t][1] = hn::Zero(D32());
  }
  add_half<Q, 0>(w, x, stride, scale, dot);
  add_half<Q, 1>(w, x, stride, scale, dot);
  for (int t = 0; t < kT; ++t) {
    const VF unit = hn::Mul(f.d, hn::Set(DF(), x[t * stride].unit * (1.f / (1 << kTop))));
    sums[t] = hn::MulAdd(unit, hn::ConvertTo(DF(), hn::Add(dot[t][0], dot[t][1])), sums[t]);
  }
}

// Blocks kBlock and kBlock + 4, each in a half of the lanes: at most 4 * 31 * 127.
HWY_INLINE V16 block_products(VU8 first, VU8 others, const int8_t* paired) {
  return hn::Add(pair_products(first, paired), pair_products(others, paired + 32));
}

// Eight blocks of 32: their products are added up to a lane a block before they meet their scales.
template <class Q, int kT>
HWY_INLINE void add_blocks(const uint8_t* w, const ByteGroup* x, int64_t stride, VF (&sums)[kT]) {
  V32 dot[kT][2];
  const auto add_four = [&]<int kPair>() HWY_ATTR {
    VU8 first[2], others[2];
    Q::template codes<2 * kPair>(w, first[0], others[0]);
    Q::template codes<2 * kPair + 1>(w, first[1], others[1]);
    for (int t = 0; t < kT; ++t) {
      const int8_t* paired = x[t * stride].paired + kPair * 128;
      const V16 a = block_products(first[0], others[0], paired), b = block_products(first[1], others[1], paired + 64);
      dot[t][kPair] = pair_sums(V16{_mm256_hadd_epi16(a.raw, b.raw)}, hn::Set(D16(), 1));
    }
  };
  add_four.template operator()<0>();
  add_four.template operator()<1>();
  const VF scale = Q::scales(w);
  VF min;
  if constexpr (Q::kOffset == 0) {
    min = Q::mins(w);
  } else {
    min = hn::Mul(scale, hn::Set(DF(), Q::kOffset));
  }
  for (int t = 0; t < kT; ++t) {
    const ByteGroup& of_x = x[t * stride];
    const V32 blocks{_mm256_hadd_epi32(dot[t][0].raw, dot[t][1].raw)};
    sums[t] = hn::MulAdd(hn::Mul(scale, hn::Load(DF(), of_x.scale)), hn::ConvertTo(DF(), blocks), sums[t]);
    sums[t] = hn::NegMulAdd(min, hn::Load(DF(), of_x.total), sums[t]);
  }
}

// Bytes ahead of the reader that are asked for, as in gemv.cc. With 2 threads of a Xeon 4096 give 21.3 GB/s of kQ4_K
// and 20.4 of kQ4_0, 8192 19.6 and 19.4, and 2048 18.9 and 19.0.
constexpr int64_t kPrefetchBytes = HWY_TARGET <= HWY_AVX3 ? 4096 : 8192;

template <class Q, int kT>
void dot_row(const uint8_t* w, const Activations& a, float (&out)[kT]) {
  const int64_t stride = a.byte_groups(), whole = a.depth / kSuperBlock;
  VF sums[kT];
  for (VF& sum : sums) sum = hn::Zero(DF());
  for (int64_t g = 0; g < whole; ++g, w += Q::kBytes) {
    for (int i = 0; i < Q::kBytes; i += 64) hwy::Prefetch(w + i + kPrefetchBytes);
    if constexpr (Q::kSuper) {
      add_group<Q>(w, a.bytes + g, stride, sums);
    } else {
      add_blocks<Q>(w, a.bytes + g, stride, sums);
    }
  }
  if constexpr (!Q::kSuper) {
    if (whole < stride) {
      const codes::Padded<Q> last(w, a.depth % kSuperBlock);
      add_blocks<Q>(last.bytes, a.bytes + whole, stride, sums);
    }
  }
  for (int t = 0; t < kT; ++t) out[t] = hn::GetLane(hn::SumOfLanes(DF(), sums[t]));
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

void gemv_codes(const Activations& a, const GemvPiece& piece) noexcept { HWY_DYNAMIC_DISPATCH(gemv_codes)(a, piece); }

}  // namespace lowkey
#endif
