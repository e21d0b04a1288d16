// Blocks of the quantised types of up to 6 bits as the int8 kernels read them: codes of 0 to 63 in bytes, and the
// scales of eight blocks of 32 at a time, x = scale * (code - kOffset) - min. One struct a type, all of one form:
//
//   kBytes    of 256 elements            kHalves   2: elements 0-15 and 16-31 of a block have scales of their own
//   kSuper    its blocks are groups      scales    of a group of 8 blocks
//   codes<b>  of block b of the group, 32 elements in order
//
// Vectors are of 32 bytes on every instruction set: enough to keep up with memory, and a block each. Included once per
// Highway target; there is nothing for shorter ones. The order of the bits is spelled out in ref/dequantize.cc.
#if defined(LOWKEY_OPS_CPU_CODES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOWKEY_OPS_CPU_CODES_INL_H_
#undef LOWKEY_OPS_CPU_CODES_INL_H_
#else
#define LOWKEY_OPS_CPU_CODES_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstring>

#include "base/dtype.h"

#if HWY_MAX_BYTES >= 32

HWY_BEFORE_NAMESPACE();
namespace lowkey::HWY_NAMESPACE {
namespace codes {
namespace hn = hwy::HWY_NAMESPACE;

using DU8 = hn::FixedTag<uint8_t, 32>;
using DI8 = hn::FixedTag<int8_t, 32>;
using D16 = hn::FixedTag<int16_t, 16>;
using D32 = hn::FixedTag<int32_t, 8>;
using DF = hn::FixedTag<float, 8>;
using VU8 = hn::Vec<DU8>;
using VF = hn::Vec<DF>;
using Bytes16 = hn::Vec<hn::FixedTag<int8_t, 16>>;

inline constexpr int kBlocks = 8;  // of a group

// Lane b is of block b: [0] of its elements 0-15, [1] of 16-31; with kHalves = 1, [0] of all.
struct Scales {
  VF scale[2], min[2];
};

HWY_INLINE uint32_t load_word(const uint8_t* p) {
  uint32_t word;
  std::memcpy(&word, p, sizeof word);
  return word;
}

HWY_INLINE VF half(const uint8_t* p) {
  const hn::FixedTag<uint16_t, 8> d;
  uint16_t bits;
  std::memcpy(&bits, p, sizeof bits);
  return hn::PromoteTo(DF(), hn::BitCast(hn::FixedTag<hwy::float16_t, 8>(), hn::Set(d, bits)));
}

// Lane i: the f16 at p + i * stride. From `count` on the last is repeated.
HWY_INLINE VF halves(const uint8_t* p, int stride, int count) {
  const auto at = [&](int i) HWY_ATTR {
    int16_t bits;
    std::memcpy(&bits, p + std::min(i, count - 1) * stride, sizeof bits);
    return bits;
  };
  const hn::Vec128<hwy::float16_t> bits{_mm_set_epi16(at(7), at(6), at(5), at(4), at(3), at(2), at(1), at(0))};
  return hn::PromoteTo(DF(), bits);
}

HWY_INLINE VF of_bytes(uint64_t bytes) {
  const hn::FixedTag<uint64_t, 1> d;
  const auto lanes = hn::BitCast(hn::Rebind<uint8_t, D32>(), hn::Set(d, bytes));
  return hn::ConvertTo(DF(), hn::PromoteTo(D32(), lanes));
}

// Bytes 2b and 2b + 1 are of block b's halves.
HWY_INLINE void of_pairs(Bytes16 bytes, VF factor, VF (&out)[2]) {
  const hn::FixedTag<int16_t, 8> d;
  const auto pairs = hn::BitCast(d, bytes);
  out[0] = hn::Mul(factor, hn::ConvertTo(DF(), hn::PromoteTo(D32(), hn::ShiftRight<8>(hn::ShiftLeft<8>(pairs)))));
  out[1] = hn::Mul(factor, hn::ConvertTo(DF(), hn::PromoteTo(D32(), hn::ShiftRight<8>(pairs))));
}

// 16 bytes: element i of a block in the low, element i + 16 in the high half of byte i.
HWY_INLINE VU8 nibbles(const uint8_t* p) {
  const hn::FixedTag<uint32_t, 8> d;
  const hn::Half<decltype(d)> half;
  const auto shift = hn::Combine(d, hn::Set(half, 4), hn::Zero(half));
  const auto both = hn::Shr(hn::BitCast(d, hn::LoadDup128(DU8(), p)), shift);
  return hn::And(hn::BitCast(DU8(), both), hn::Set(DU8(), 15));
}

// 32 bits, one for each element: 16 where set.
HWY_INLINE VU8 fifth_bits(const uint8_t* p) {
  alignas(32) static constexpr uint8_t kByte[32] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1,
                                                    2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3};
  const VU8 word = hn::BitCast(DU8(), hn::Set(hn::FixedTag<uint32_t, 8>(), load_word(p)));
  const VU8 spread = hn::TableLookupBytes(word, hn::Load(DU8(), kByte));
  const VU8 bit = hn::BitCast(DU8(), hn::Set(hn::FixedTag<uint64_t, 4>(), 0x8040201008040201ull));
  return hn::And(hn::VecFromMask(DU8(), hn::Eq(hn::And(spread, bit), bit)), hn::Set(DU8(), 16));
}

// Bits kFrom up of 32 bytes, `mask` of them, moved to bit kTo.
template <int kFrom, int kTo>
HWY_INLINE VU8 bits(const uint8_t* p, uint8_t mask) {
  const hn::FixedTag<uint16_t, 16> d;  // what crosses a byte is masked
  auto wide = hn::BitCast(d, hn::LoadU(DU8(), p));
  if constexpr (kFrom > kTo) wide = hn::ShiftRight<kFrom - kTo>(wide);
  if constexpr (kFrom < kTo) wide = hn::ShiftLeft<kTo - kFrom>(wide);
  return hn::And(hn::BitCast(DU8(), wide), hn::Set(DU8(), static_cast<uint8_t>(mask << kTo)));
}

// The types of 32 elements a block: a scale, a min or none, five bits or four.
template <int kBlockBytes, int kCodeOffset, bool kFive>
struct Simple {
  static constexpr int kBytes = kBlocks * kBlockBytes, kOffset = kCodeOffset, kHalves = 1;
  static constexpr bool kSuper = false;
  static constexpr int kHead = kCodeOffset == 0 ? 4 : 2;  // bytes before the codes
  HWY_INLINE static Scales scales(const uint8_t* p, int count) {
    Scales s;
    s.scale[0] = halves(p, kBlockBytes, count);
    if constexpr (kOffset == 0) s.min[0] = hn::Neg(halves(p + 2, kBlockBytes, count));
    return s;
  }
  template <int kBlock>
  HWY_INLINE static VU8 codes(const uint8_t* p) {
    p += kBlock * kBlockBytes + kHead;
    if constexpr (kFive) return hn::Or(nibbles(p + 4), fifth_bits(p));
    return nibbles(p);
  }
};

// kQ4_K and kQ5_K: d, m, and eight 6-bit scales and mins in 12 bytes.
HWY_INLINE Scales scales_and_mins(const uint8_t* p) {
  const uint32_t a = load_word(p + 4), b = load_word(p + 8), c = load_word(p + 12);
  const auto joined = [](uint32_t first, uint32_t low, uint32_t high) {
    return (first & 0x3f3f3f3f) | uint64_t{(low & 0x0f0f0f0f) | (high >> 2 & 0x30303030)} << 32;
  };
  Scales s;
  s.scale[0] = hn::Mul(half(p), of_bytes(joined(a, c, a)));
  s.min[0] = hn::Mul(half(p + 2), of_bytes(joined(b, c >> 4, b)));
  return s;
}

struct Q4K {
  static constexpr int kBytes = 144, kOffset = 0, kHalves = 1;
  static constexpr bool kSuper = true;
  HWY_INLINE static Scales scales(const uint8_t* p, int) { return scales_and_mins(p); }
  template <int kBlock>
  HWY_INLINE static VU8 codes(const uint8_t* p) {
    return bits<kBlock % 2 * 4, 0>(p + 16 + kBlock / 2 * 32, 15);
  }
};

struct Q5K {
  static constexpr int kBytes = 176, kOffset = 0, kHalves = 1;
  static constexpr bool kSuper = true;
  HWY_INLINE static Scales scales(const uint8_t* p, int) { return scales_and_mins(p); }
  template <int kBlock>
  HWY_INLINE static VU8 codes(const uint8_t* p) {
    return hn::Or(bits<kBlock % 2 * 4, 0>(p + 48 + kBlock / 2 * 32, 15), bits<kBlock, 4>(p + 16, 1));
  }
};

struct Q6K {
  static constexpr int kBytes = 210, kOffset = 32, kHalves = 2;
  static constexpr bool kSuper = true;
  HWY_INLINE static Scales scales(const uint8_t* p, int) {
    Scales s;
    of_pairs(hn::LoadU(hn::FixedTag<int8_t, 16>(), reinterpret_cast<const int8_t*>(p + 192)), half(p + 208), s.scale);
    return s;
  }
  template <int kBlock>
  HWY_INLINE static VU8 codes(const uint8_t* p) {
    constexpr int kHalf = kBlock / 4, kRun = kBlock % 4;
    return hn::Or(bits<kRun / 2 * 4, 0>(p + kHalf * 64 + kRun % 2 * 32, 15),
                  bits<kRun * 2, 4>(p + 128 + kHalf * 32, 3));
  }
};

struct Q2K {
  static constexpr int kBytes = 84, kOffset = 0, kHalves = 2;
  static constexpr bool kSuper = true;
  HWY_INLINE static Scales scales(const uint8_t* p, int) {
    const hn::FixedTag<uint8_t, 16> d;
    const hn::FixedTag<int8_t, 16> signed_bytes;
    const auto packed = hn::LoadU(d, p);
    const auto mins = hn::BitCast(d, hn::ShiftRight<4>(hn::BitCast(hn::FixedTag<uint16_t, 8>(), packed)));
    Scales s;
    of_pairs(hn::BitCast(signed_bytes, hn::And(packed, hn::Set(d, 15))), half(p + 80), s.scale);
    of_pairs(hn::BitCast(signed_bytes, hn::And(mins, hn::Set(d, 15))), half(p + 82), s.min);
    return s;
  }
  template <int kBlock>
  HWY_INLINE static VU8 codes(const uint8_t* p) {
    return bits<kBlock % 4 * 2, 0>(p + 16 + kBlock / 4 * 32, 3);
  }
};

struct Q3K {
  static constexpr int kBytes = 110, kOffset = 4, kHalves = 2;
  static constexpr bool kSuper = true;
  HWY_INLINE static Scales scales(const uint8_t* p, int) {
    const uint32_t a = load_word(p + 96), b = load_word(p + 100), c = load_word(p + 104);
    const auto joined = [](uint32_t low, uint32_t high) {
      return uint64_t{(low & 0x0f0f0f0f) | (high & 0x03030303) << 4};
    };
    alignas(16) const uint64_t words[2] = {joined(a, c) | joined(b, c >> 2) << 32,
                                           joined(a >> 4, c >> 4) | joined(b >> 4, c >> 6) << 32};
    const hn::FixedTag<int8_t, 16> d;
    Scales s;
    of_pairs(hn::Sub(hn::BitCast(d, hn::Load(hn::FixedTag<uint64_t, 2>(), words)), hn::Set(d, 32)), half(p + 108),
             s.scale);
    return s;
  }
  template <int kBlock>
  HWY_INLINE static VU8 codes(const uint8_t* p) {
    return hn::Or(bits<kBlock % 4 * 2, 0>(p + 32 + kBlock / 4 * 32, 3), bits<kBlock, 2>(p, 1));
  }
};

// kVisit(Q()) with the struct of a type; false for a type that has none.
template <class F>
HWY_INLINE bool visit(DType type, F&& f) {
  switch (type) {
    case DType::kQ4_0:
      return f(Simple<18, 8, false>()), true;
    case DType::kQ4_1:
      return f(Simple<20, 0, false>()), true;
    case DType::kQ5_0:
      return f(Simple<22, 16, true>()), true;
    case DType::kQ5_1:
      return f(Simple<24, 0, true>()), true;
    case DType::kQ2_K:
      return f(Q2K()), true;
    case DType::kQ3_K:
      return f(Q3K()), true;
    case DType::kQ4_K:
      return f(Q4K()), true;
    case DType::kQ5_K:
      return f(Q5K()), true;
    case DType::kQ6_K:
      return f(Q6K()), true;
    default:
      return false;
  }
}

}  // namespace codes
}  // namespace lowkey::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // HWY_MAX_BYTES >= 32

#endif
