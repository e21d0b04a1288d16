// A block of kQ8_0 in registers: 32 int16 and one f32 scale, x = scale * q. Products with int16 activations are exact
// in int32. Included once per Highway target. The other quantised types: codes-inl.h.
#if defined(LOWKEY_OPS_CPU_BLOCKS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOWKEY_OPS_CPU_BLOCKS_INL_H_
#undef LOWKEY_OPS_CPU_BLOCKS_INL_H_
#else
#define LOWKEY_OPS_CPU_BLOCKS_INL_H_
#endif

#include <hwy/highway.h>

#include <cstring>

#include "base/dtype.h"
#include "ops/cpu/vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lowkey::HWY_NAMESPACE {

inline constexpr int kQ8Bytes = 34;
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

// Block b of a row.
HWY_INLINE Block load_block(const uint8_t* row, int64_t b) {
  const uint8_t* p = row + b * kQ8Bytes;
  Block block;
  block.scale = load_f16(p);
#if HWY_TARGET == HWY_SCALAR
  for (int i = 0; i < kQuantBlock; ++i) block.q[i] = hn::Set(D16(), static_cast<int8_t>(p[2 + i]));
#else
  const hn::Rebind<int8_t, D16> d8;
  for (int i = 0; i < kBlockVectors; ++i) {
    block.q[i] = hn::PromoteTo(D16(), hn::LoadU(d8, reinterpret_cast<const int8_t*>(p + 2) + i * kLanes16));
  }
#endif
  return block;
}

#if HWY_TARGET <= HWY_AVX3

// The scales of as many blocks, from b on, as a vector has lanes: one by one they cost as much as the products.
HWY_INLINE VF load_scales(const uint8_t* row, int64_t b) {
  const auto* first = reinterpret_cast<const int32_t*>(row + b * kQ8Bytes);
  const V32 words = hn::GatherOffset(D32(), first, hn::Mul(hn::Iota(D32(), 0), hn::Set(D32(), kQ8Bytes)));
  const auto bits = hn::TruncateTo(hn::Rebind<uint16_t, DF>(), hn::BitCast(hn::RebindToUnsigned<D32>(), words));
  return hn::PromoteTo(DF(), hn::BitCast(hn::Rebind<hwy::float16_t, DF>(), bits));
}

#endif  // HWY_TARGET <= HWY_AVX3

}  // namespace lowkey::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
