// Blocks of the quantised types in registers: 32 int16 and one f32 scale, x = scale * q. Every type reads into this
// one form, in which a product with int16 activations is exact in int32 (kQ6_K folds its 8-bit scales into q:
// |q| <= 4096). Included once per Highway target.
#if defined(LOWKEY_OPS_CPU_BLOCKS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOWKEY_OPS_CPU_BLOCKS_INL_H_
#undef LOWKEY_OPS_CPU_BLOCKS_INL_H_
#else
#define LOWKEY_OPS_CPU_BLOCKS_INL_H_
#endif

#include <hwy/highway.h>

#include <cstring>

#include "base/dtype.h"

HWY_BEFORE_NAMESPACE();
namespace lowkey::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using DF = hn::ScalableTag<float>;
using D32 = hn::ScalableTag<int32_t>;
using D16 = hn::ScalableTag<int16_t>;
using VF = hn::Vec<DF>;
using V32 = hn::Vec<D32>;
using V16 = hn::Vec<D16>;
inline constexpr int kLanes16 = static_cast<int>(hn::MaxLanes(D16()));
inline constexpr int kLanesF = static_cast<int>(hn::MaxLanes(DF()));
inline constexpr int kBlockVectors = kQuantBlock / kLanes16;  // vectors of int16 that hold a block

struct Block {
  V16 q[kBlockVectors];
  float scale;
};

HWY_INLINE float load_f16(const uint8_t* p) {
  const hn::CappedTag<float, 1> d;
  hwy::float16_t bits;
  std::memcpy(&bits, p, sizeof bits);
  return hn::GetLane(hn::PromoteTo(d, hn::LoadU(hn::Rebind<hwy::float16_t, decltype(d)>(), &bits)));
}

// Block b (of 32 elements) of a row.
template <DType kType>
HWY_INLINE Block load_block(const uint8_t* row, int64_t b);

#if HWY_TARGET == HWY_SCALAR

// Without vectors of 16 bytes the blocks are read one element at a time, as ref/quantize.cc does.
template <>
HWY_INLINE Block load_block<DType::kQ8_0>(const uint8_t* row, int64_t b) {
  const uint8_t* p = row + b * 34;
  Block block;
  block.scale = load_f16(p);
  for (int i = 0; i < kQuantBlock; ++i) block.q[i] = hn::Set(D16(), static_cast<int8_t>(p[2 + i]));
  return block;
}

template <>
HWY_INLINE Block load_block<DType::kQ4_0>(const uint8_t* row, int64_t b) {
  const uint8_t* p = row + b * 18;
  Block block;
  block.scale = load_f16(p);
  for (int i = 0; i < kQuantBlock; ++i) {
    block.q[i] = hn::Set(D16(), static_cast<int16_t>((p[2 + i % 16] >> i / 16 * 4 & 15) - 8));
  }
  return block;
}

template <>
HWY_INLINE Block load_block<DType::kQ6_K>(const uint8_t* row, int64_t b) {
  const uint8_t* p = row + b / 8 * 210;
  const int half = static_cast<int>(b / 4 % 2), run = static_cast<int>(b % 4);
  Block block;
  block.scale = load_f16(p + 208);
  for (int i = 0; i < kQuantBlock; ++i) {
    const int low = p[half * 64 + run % 2 * 32 + i] >> run / 2 * 4 & 15, high = p[128 + half * 32 + i] >> 2 * run & 3;
    const int scale = static_cast<int8_t>(p[192 + half * 8 + run * 2 + i / 16]);
    block.q[i] = hn::Set(D16(), static_cast<int16_t>(((low | high << 4) - 32) * scale));
  }
  return block;
}

#else

// Elements 0-15 and 16-31 as 8-bit vectors, widened.
template <class V8>
HWY_INLINE void widen(V8 low, V8 high, V16 (&q)[kBlockVectors]) {
  const D16 d16;
  if constexpr (kBlockVectors == 1) {
    q[0] = hn::PromoteTo(d16, hn::Combine(hn::Twice<hn::DFromV<V8> >(), high, low));
  } else if constexpr (kBlockVectors == 2) {
    q[0] = hn::PromoteTo(d16, low);
    q[1] = hn::PromoteTo(d16, high);
  } else {
    const hn::Half<hn::DFromV<V8> > half;
    q[0] = hn::PromoteTo(d16, hn::LowerHalf(half, low));
    q[1] = hn::PromoteTo(d16, hn::UpperHalf(half, low));
    q[2] = hn::PromoteTo(d16, hn::LowerHalf(half, high));
    q[3] = hn::PromoteTo(d16, hn::UpperHalf(half, high));
  }
}

template <>
HWY_INLINE Block load_block<DType::kQ8_0>(const uint8_t* row, int64_t b) {
  const hn::Rebind<int8_t, D16> d8;
  const uint8_t* p = row + b * 34;
  Block block;
  block.scale = load_f16(p);
  for (int i = 0; i < kBlockVectors; ++i) {
    block.q[i] = hn::PromoteTo(D16(), hn::LoadU(d8, reinterpret_cast<const int8_t*>(p + 2) + i * kLanes16));
  }
  return block;
}

template <>
HWY_INLINE Block load_block<DType::kQ4_0>(const uint8_t* row, int64_t b) {
  const hn::FixedTag<uint8_t, 16> d8;
  const uint8_t* p = row + b * 18;
  Block block;
  block.scale = load_f16(p);
  const auto nibbles = hn::LoadU(d8, p + 2);
  widen(hn::And(nibbles, hn::Set(d8, 15)), hn::ShiftRight<4>(nibbles), block.q);
  for (V16& q : block.q) q = hn::Sub(q, hn::Set(D16(), 8));
  return block;
}

// The layout is spelled out in ref/quantize.cc.
template <>
HWY_INLINE Block load_block<DType::kQ6_K>(const uint8_t* row, int64_t b) {
  const hn::FixedTag<uint8_t, 16> d8;
  const hn::FixedTag<uint16_t, 8> d_shift;
  const hn::FixedTag<int8_t, 16> d_scale;
  const uint8_t* p = row + b / 8 * 210;
  const int half = static_cast<int>(b / 4 % 2), run = static_cast<int>(b % 4);
  const uint8_t* low_bits = p + half * 64 + run % 2 * 32;
  const uint8_t* high_bits = p + 128 + half * 32;
  const auto* scales = reinterpret_cast<const int8_t*>(p + 192) + half * 8 + run * 2;
  // Shifts are of 16-bit lanes; the masks drop what crosses a byte.
  const auto bits = [&](int i) HWY_ATTR {
    const auto low = hn::ShiftRightSame(hn::BitCast(d_shift, hn::LoadU(d8, low_bits + i)), run / 2 * 4);
    const auto high = hn::ShiftRightSame(hn::BitCast(d_shift, hn::LoadU(d8, high_bits + i)), run * 2);
    return hn::BitCast(
        d8, hn::Or(hn::And(low, hn::Set(d_shift, 0x0f0f)), hn::ShiftLeft<4>(hn::And(high, hn::Set(d_shift, 0x0303)))));
  };
  Block block;
  block.scale = load_f16(p + 208);
  V16 scale[kBlockVectors];
  widen(bits(0), bits(16), block.q);
  widen(hn::Set(d_scale, scales[0]), hn::Set(d_scale, scales[1]), scale);
  for (int i = 0; i < kBlockVectors; ++i) {
    block.q[i] = hn::Mul(hn::Sub(block.q[i], hn::Set(D16(), 32)), scale[i]);
  }
  return block;
}

#endif  // HWY_TARGET == HWY_SCALAR

#if HWY_TARGET <= HWY_AVX3

// The scales of as many blocks, from b on, as a vector has lanes: one by one they cost as much as the products.
template <DType kType>
HWY_INLINE VF load_scales(const uint8_t* row, int64_t b) {
  static_assert(kType == DType::kQ8_0 || kType == DType::kQ4_0, "blocks that begin with their scale");
  constexpr int kStride = kType == DType::kQ8_0 ? 34 : 18;
  const auto* first = reinterpret_cast<const int32_t*>(row + b * kStride);
  const V32 words = hn::GatherOffset(D32(), first, hn::Mul(hn::Iota(D32(), 0), hn::Set(D32(), kStride)));
  const auto bits = hn::TruncateTo(hn::Rebind<uint16_t, DF>(), hn::BitCast(hn::RebindToUnsigned<D32>(), words));
  return hn::PromoteTo(DF(), hn::BitCast(hn::Rebind<hwy::float16_t, DF>(), bits));
}

#endif  // HWY_TARGET <= HWY_AVX3

}  // namespace lowkey::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
