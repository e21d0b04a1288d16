// Blocks of the quantised types of up to 6 bits as the int8 kernels read them: groups of 8 blocks of 32 elements, codes
// of 0 to 63 in bytes, each type a struct of one of two forms.
//
// kQ*_K (kSuper): x = d * scale * (code - kOffset) - m * min, scale and min whole numbers of 16 elements each.
//   factors      those of the group; with an offset min is scale, and m is d * kOffset
//   codes<h>     of its blocks 4 h to 4 h + 3, 32 elements in order in each vector, times 1 << kRaised: what is not
//                moved down to bit 0 saves a shift, and is made up for in the scales
// kQ4_x, kQ5_x: x = scale * (code - kOffset) - min, in floats, lane b those of block b.
//   scales, mins
//   codes<b>     of blocks b and b + 4, 16 elements of each: the first ones, and the others
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
using V16 = hn::Vec<D16>;
using V32 = hn::Vec<D32>;
using VF = hn::Vec<DF>;

inline constexpr int kBlocks = 8;  // of a group

// Of a kQ*_K block. Lane b of the lower half of scale and min is of elements 0-15 of block b, of the upper half of
// 16-31.
struct Factors {
  V16 scale, min;
  VF d, m;  // the same in all lanes
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

// Lane i: the f16 at p + i * kStride.
template <int kStride>
HWY_INLINE VF halves(const uint8_t* p) {
  const auto at = [&](int i) HWY_ATTR {
    int16_t bits;
    std::memcpy(&bits, p + i * kStride, sizeof bits);
    return bits;
  };
  const hn::Vec128<hwy::float16_t> bits{_mm_set_epi16(at(7), at(6), at(5), at(4), at(3), at(2), at(1), at(0))};
  return hn::PromoteTo(DF(), bits);
}

// Eight bytes, in both halves.
HWY_INLINE V16 of_bytes(uint64_t bytes) {
  const hn::FixedTag<uint64_t, 1> d;
  const hn::Half<D16> half;
  const auto lanes = hn::PromoteTo(half, hn::BitCast(hn::FixedTag<uint8_t, 8>(), hn::Set(d, bytes)));
  return hn::Combine(D16(), lanes, lanes);
}

// Of the 16 bytes in each half the order[i]-th to byte i; 0 where that is 128.
HWY_INLINE V16 rearranged(VU8 bytes, const uint8_t (&order)[32]) {
  return hn::BitCast(D16(), hn::TableLookupBytesOr0(bytes, hn::Load(DU8(), order)));
}

// Eight int16, in both halves.
HWY_INLINE V16 twice(const int16_t (&lanes)[8]) { return hn::LoadDup128(D16(), lanes); }

// 32 bits, one for each element of a block, of two blocks: 16 where set. kHalf: of elements 0-15, or of 16-31.
template <int kHalf>
HWY_INLINE VU8 fifth_bits(VU8 words) {
  alignas(32) static constexpr uint8_t kByte[32] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1,
                                                    0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1};
  const VU8 order = hn::Add(hn::Load(DU8(), kByte), hn::Set(DU8(), 2 * kHalf));
  const VU8 spread = hn::TableLookupBytes(words, order);
  const VU8 bit = hn::BitCast(DU8(), hn::Set(hn::FixedTag<uint64_t, 4>(), 0x8040201008040201ull));
  return hn::And(hn::VecFromMask(DU8(), hn::Eq(hn::And(spread, bit), bit)), hn::Set(DU8(), 16));
}

// Bits kFrom up of each byte, `mask` of them, moved to bit kTo.
template <int kFrom, int kTo>
HWY_INLINE VU8 moved(VU8 bytes, uint8_t mask) {
  const hn::FixedTag<uint16_t, 16> d;  // what crosses a byte is masked
  auto wide = hn::BitCast(d, bytes);
  if constexpr (kFrom > kTo) wide = hn::ShiftRight<kFrom - kTo>(wide);
  if constexpr (kFrom < kTo) wide = hn::ShiftLeft<kTo - kFrom>(wide);
  return hn::And(hn::BitCast(DU8(), wide), hn::Set(DU8(), static_cast<uint8_t>(mask << kTo)));
}

// The types of 32 elements a block: a scale, a min or none, five bits or four.
template <int kBlockBytes, int kCodeOffset, bool kFive>
struct Simple {
  static constexpr int kBytes = kBlocks * kBlockBytes, kOffset = kCodeOffset;
  static constexpr bool kSuper = false;
  static constexpr int kHead = kCodeOffset == 0 ? 4 : 2;  // bytes before the codes
  HWY_INLINE static VF scales(const uint8_t* p) { return halves<kBlockBytes>(p); }
  HWY_INLINE static VF mins(const uint8_t* p) { return hn::Neg(halves<kBlockBytes>(p + 2)); }
  template <int kBlock>
  HWY_INLINE static void codes(const uint8_t* p, VU8& first, VU8& others) {
    const uint8_t *a = p + kBlock * kBlockBytes + kHead, *b = a + 4 * kBlockBytes;
    const hn::Half<DU8> half;
    constexpr int kNibbles = kFive ? 4 : 0;
    const VU8 both = hn::Combine(DU8(), hn::LoadU(half, b + kNibbles), hn::LoadU(half, a + kNibbles));
    first = moved<0, 0>(both, 15), others = moved<4, 0>(both, 15);
    if constexpr (kFive) {
      const hn::FixedTag<uint32_t, 4> d32;
      const VU8 words = hn::Combine(DU8(), hn::BitCast(half, hn::Set(d32, load_word(b))),
                                    hn::BitCast(half, hn::Set(d32, load_word(a))));
      first = hn::Or(first, fifth_bits<0>(words)), others = hn::Or(others, fifth_bits<1>(words));
    }
  }
};

// The last blocks of a row of kQ4_x or kQ5_x, filled up to a group with zeros.
template <class Q>
struct Padded {
  Padded(const uint8_t* p, int64_t elements) {
    std::memset(bytes, 0, sizeof bytes);
    std::memcpy(bytes, p, static_cast<size_t>(elements / kQuantBlock * (Q::kBytes / kBlocks)));
  }
  uint8_t bytes[Q::kBytes];
};

// kQ4_K and kQ5_K: d, m, and eight 6-bit scales and mins in 12 bytes.
HWY_INLINE Factors scales_and_mins(const uint8_t* p) {
  const uint32_t a = load_word(p + 4), b = load_word(p + 8), c = load_word(p + 12);
  const auto joined = [](uint32_t first, uint32_t low, uint32_t high) {
    return (first & 0x3f3f3f3f) | uint64_t{(low & 0x0f0f0f0f) | (high >> 2 & 0x30303030)} << 32;
  };
  return {of_bytes(joined(a, c, a)), of_bytes(joined(b, c >> 4, b)), half(p), half(p + 2)};
}

struct Q4K {
  static constexpr int kBytes = 144, kOffset = 0, kRaised[4] = {};
  static constexpr bool kSuper = true;
  HWY_INLINE static Factors factors(const uint8_t* p) { return scales_and_mins(p); }
  template <int kHalf>
  HWY_INLINE static void codes(const uint8_t* p, VU8 (&code)[4]) {
    const VU8 a = hn::LoadU(DU8(), p + 16 + kHalf * 64), b = hn::LoadU(DU8(), p + 48 + kHalf * 64);
    code[0] = moved<0, 0>(a, 15), code[1] = moved<4, 0>(a, 15);
    code[2] = moved<0, 0>(b, 15), code[3] = moved<4, 0>(b, 15);
  }
};

struct Q5K {
  static constexpr int kBytes = 176, kOffset = 0, kRaised[4] = {};
  static constexpr bool kSuper = true;
  HWY_INLINE static Factors factors(const uint8_t* p) { return scales_and_mins(p); }
  template <int kHalf>
  HWY_INLINE static void codes(const uint8_t* p, VU8 (&code)[4]) {
    constexpr int kBit = kHalf * 4;
    Q4K::codes<kHalf>(p + 32, code);
    const VU8 fifth = hn::LoadU(DU8(), p + 16);
    code[0] = hn::Or(code[0], moved<kBit, 4>(fifth, 1)), code[1] = hn::Or(code[1], moved<kBit + 1, 4>(fifth, 1));
    code[2] = hn::Or(code[2], moved<kBit + 2, 4>(fifth, 1)), code[3] = hn::Or(code[3], moved<kBit + 3, 4>(fifth, 1));
  }
};

struct Q6K {
  static constexpr int kBytes = 210, kOffset = 32, kRaised[4] = {};
  static constexpr bool kSuper = true;
  HWY_INLINE static Factors factors(const uint8_t* p) {
    alignas(32) static constexpr uint8_t kUpper[32] = {128, 0,   128, 2,   128, 4,   128, 6,   128, 8,   128,
                                                       10,  128, 12,  128, 14,  128, 1,   128, 3,   128, 5,
                                                       128, 7,   128, 9,   128, 11,  128, 13,  128, 15};
    const V16 scale = hn::ShiftRight<8>(rearranged(hn::LoadDup128(DU8(), p + 192), kUpper));
    const VF d = half(p + 208);
    return {scale, scale, d, hn::Mul(d, hn::Set(DF(), kOffset))};
  }
  template <int kHalf>
  HWY_INLINE static void codes(const uint8_t* p, VU8 (&code)[4]) {
    const VU8 a = hn::LoadU(DU8(), p + kHalf * 64), b = hn::LoadU(DU8(), p + 32 + kHalf * 64);
    const VU8 high = hn::LoadU(DU8(), p + 128 + kHalf * 32);
    code[0] = hn::Or(moved<0, 0>(a, 15), moved<0, 4>(high, 3));
    code[1] = hn::Or(moved<0, 0>(b, 15), moved<2, 4>(high, 3));
    code[2] = hn::Or(moved<4, 0>(a, 15), moved<4, 4>(high, 3));
    code[3] = hn::Or(moved<4, 0>(b, 15), moved<6, 4>(high, 3));
  }
};

struct Q2K {
  static constexpr int kBytes = 84, kOffset = 0, kRaised[4] = {0, 2, 4, 4};
  static constexpr bool kSuper = true;
  HWY_INLINE static Factors factors(const uint8_t* p) {
    alignas(32) static constexpr uint8_t kLower[32] = {0,   128, 2,   128, 4,   128, 6,   128, 8,   128, 10,
                                                       128, 12,  128, 14,  128, 1,   128, 3,   128, 5,   128,
                                                       7,   128, 9,   128, 11,  128, 13,  128, 15,  128};
    const V16 packed = rearranged(hn::LoadDup128(DU8(), p), kLower);
    return {hn::And(packed, hn::Set(D16(), 15)), hn::ShiftRight<4>(packed), half(p + 80), half(p + 82)};
  }
  template <int kHalf>
  HWY_INLINE static void codes(const uint8_t* p, VU8 (&code)[4]) {
    const VU8 q = hn::LoadU(DU8(), p + 16 + kHalf * 32);
    code[0] = moved<0, 0>(q, 3), code[1] = moved<2, 2>(q, 3), code[2] = moved<4, 4>(q, 3), code[3] = moved<6, 4>(q, 3);
  }
};

struct Q3K {
  static constexpr int kBytes = 110, kOffset = 4, kRaised[4] = {0, 0, 4, 4};
  static constexpr bool kSuper = true;
  // Low and high bits of a scale meet 4 bits up, moved there by multiplications: no other shift is of its own in
  // each lane.
  HWY_INLINE static Factors factors(const uint8_t* p) {
    alignas(32) static constexpr uint8_t kLow[32] = {2, 128, 4, 128, 6, 128, 8, 128, 2, 128, 4, 128, 6, 128, 8, 128,
                                                     3, 128, 5, 128, 7, 128, 9, 128, 3, 128, 5, 128, 7, 128, 9, 128};
    alignas(32) static constexpr uint8_t kHigh[32] = {10,  128, 12,  128, 10,  128, 12,  128, 10,  128, 12,
                                                      128, 10,  128, 12,  128, 11,  128, 13,  128, 11,  128,
                                                      13,  128, 11,  128, 13,  128, 11,  128, 13,  128};
    alignas(16) static constexpr int16_t kLowUp[8] = {16, 16, 16, 16, 1, 1, 1, 1};
    alignas(16) static constexpr int16_t kHighUp[8] = {256, 256, 64, 64, 16, 16, 4, 4};
    const VU8 packed = hn::LoadDup128(DU8(), p + 94);  // from 96 on they would reach past the block
    const V16 low = hn::And(hn::Mul(rearranged(packed, kLow), twice(kLowUp)), hn::Set(D16(), 0xf0));
    const V16 high = hn::And(hn::Mul(rearranged(packed, kHigh), twice(kHighUp)), hn::Set(D16(), 0x300));
    const V16 scale = hn::Sub(hn::ShiftRight<4>(hn::Or(low, high)), hn::Set(D16(), 32));
    const VF d = half(p + 108);
    return {scale, scale, d, hn::Mul(d, hn::Set(DF(), kOffset))};
  }
  // Two runs a byte, 4 bits each: the low bits of runs 0 and 2 lie right, and those of 1 and 3 after one shift; a table
  // puts the third bits of four runs above them.
  template <int kHalf>
  HWY_INLINE static void codes(const uint8_t* p, VU8 (&code)[4]) {
    alignas(16) static constexpr uint8_t kEven[16] = {0x00, 0x04, 0x00, 0x04, 0x40, 0x44, 0x40, 0x44,
                                                      0x00, 0x04, 0x00, 0x04, 0x40, 0x44, 0x40, 0x44};
    alignas(16) static constexpr uint8_t kOdd[16] = {0x00, 0x00, 0x04, 0x04, 0x00, 0x00, 0x04, 0x04,
                                                     0x40, 0x40, 0x44, 0x44, 0x40, 0x40, 0x44, 0x44};
    const VU8 q = hn::LoadU(DU8(), p + 32 + kHalf * 32), thirds = moved<kHalf * 4, 0>(hn::LoadU(DU8(), p), 15);
    const VU8 even = hn::Or(moved<0, 0>(q, 0x33), hn::TableLookupBytes(hn::LoadDup128(DU8(), kEven), thirds));
    const VU8 odd = hn::Or(moved<2, 0>(q, 0x33), hn::TableLookupBytes(hn::LoadDup128(DU8(), kOdd), thirds));
    code[0] = moved<0, 0>(even, 7), code[1] = moved<0, 0>(odd, 7);
    code[2] = moved<4, 4>(even, 7), code[3] = moved<4, 4>(odd, 7);
  }
};

// A group as scalars have it: x = scale * (code - offset), less the min where the type has one; [1]: elements 16-31.
struct Group {
  alignas(32) uint8_t code[kSuperBlock];
  alignas(32) float scale[2][kBlocks], min[2][kBlocks];
};

HWY_INLINE void store_lanes(V16 lanes, VF factor, float (&out)[2][kBlocks]) {
  const DF df;
  const hn::Half<D16> half;
  const auto product = [&](auto v) HWY_ATTR { return hn::Mul(factor, hn::ConvertTo(df, hn::PromoteTo(D32(), v))); };
  hn::Store(product(hn::LowerHalf(half, lanes)), df, out[0]);
  hn::Store(product(hn::UpperHalf(half, lanes)), df, out[1]);
}

// f(b, code) for each block of a group, its 32 codes in order.
template <class Q, class F>
HWY_INLINE void each_block(const uint8_t* w, F&& f) {
  const DU8 d;
  if constexpr (Q::kSuper) {
    const auto of_half = [&]<int kHalf>() HWY_ATTR {
      const hn::FixedTag<uint16_t, 16> wide;
      VU8 code[4];
      Q::template codes<kHalf>(w, code);
      for (int run = 0; run < 4; ++run)
        f(kHalf * 4 + run, hn::BitCast(d, hn::ShiftRightSame(hn::BitCast(wide, code[run]), Q::kRaised[run])));
    };
    of_half.template operator()<0>();
    of_half.template operator()<1>();
  } else {
    const auto of_pair = [&]<int kBlock>() HWY_ATTR {
      VU8 first, others;
      Q::template codes<kBlock>(w, first, others);
      f(kBlock, hn::ConcatLowerLower(d, others, first));
      f(kBlock + 4, hn::ConcatUpperUpper(d, others, first));
    };
    of_pair.template operator()<0>();
    of_pair.template operator()<1>();
    of_pair.template operator()<2>();
    of_pair.template operator()<3>();
  }
}

template <class Q>
HWY_INLINE void unpack(const uint8_t* w, Group& g) {
  if constexpr (Q::kSuper) {
    const Factors f = Q::factors(w);
    store_lanes(f.scale, f.d, g.scale);
    if constexpr (Q::kOffset == 0) store_lanes(f.min, f.m, g.min);
  } else {
    const DF df;
    for (int h = 0; h < 2; ++h) {
      hn::Store(Q::scales(w), df, g.scale[h]);
      if constexpr (Q::kOffset == 0) hn::Store(Q::mins(w), df, g.min[h]);
    }
  }
  each_block<Q>(w, [&](int b, VU8 code) HWY_ATTR { hn::Store(code, DU8(), g.code + b * kQuantBlock); });
}

// The first `elements` of a group, up to all of it; the others are anything.
template <class Q>
HWY_INLINE void unpack(const uint8_t* w, int64_t elements, Group& g) {
  if constexpr (!Q::kSuper)
    if (elements < kSuperBlock) return unpack<Q>(Padded<Q>(w, elements).bytes, g);
  unpack<Q>(w, g);
}

// f(Q()) with the struct of a type; false for a type that has none.
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
