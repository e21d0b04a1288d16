// What the attention kernels share, once per Highway target: loading cache rows as f32, and 2^x.
// No include guard in the usual sense: Highway includes this file once for every target.
#if defined(LOWKEY_OPS_CPU_LANES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOWKEY_OPS_CPU_LANES_INL_H_
#undef LOWKEY_OPS_CPU_LANES_INL_H_
#else
#define LOWKEY_OPS_CPU_LANES_INL_H_
#endif

#include <hwy/highway.h>

#include <cstdint>
#include <cstring>
#include <type_traits>

HWY_BEFORE_NAMESPACE();
namespace lowkey {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class D>
HWY_INLINE hn::Vec<D> load_f32(D d, const float* x) {
  return hn::LoadU(d, x);
}

template <class D>
HWY_INLINE hn::Vec<D> load_f32(D d, const hwy::bfloat16_t* x) {
  return hn::PromoteTo(d, hn::LoadU(hn::Rebind<hwy::bfloat16_t, D>(), x));
}

template <class D>
HWY_INLINE hn::Vec<D> load_f32(D d, const hwy::float16_t* x) {
#if HWY_TARGET <= HWY_AVX2
  return hn::PromoteTo(d, hn::LoadU(hn::Rebind<hwy::float16_t, D>(), x));
#else
  // No conversion instruction. Shifted into place, the exponent is 112 too small, for subnormals too: one exact
  // multiplication mends both. What had the highest exponent (infinity, NaN) gets the highest one again.
  const hn::RebindToUnsigned<D> du;
  const auto bits = hn::PromoteTo(du, hn::LoadU(hn::Rebind<uint16_t, D>(), reinterpret_cast<const uint16_t*>(x)));
  const auto magnitude = hn::ShiftLeft<13>(hn::And(bits, hn::Set(du, 0x7fffu)));
  const auto finite = hn::BitCast(du, hn::Mul(hn::BitCast(d, magnitude), hn::Set(d, 0x1p112f)));
  const auto special = hn::Ge(hn::BitCast(d, finite), hn::Set(d, 65536.f));
  const auto sign = hn::ShiftLeft<16>(hn::And(bits, hn::Set(du, 0x8000u)));
  const auto exponent = hn::IfThenElseZero(special, hn::BitCast(d, hn::Set(du, 0x7f800000u)));
  return hn::BitCast(d, hn::Or(hn::Or(finite, sign), hn::BitCast(du, exponent)));
#endif
}

// Without their row's scale.
template <class D>
HWY_INLINE hn::Vec<D> load_f32(D d, const int8_t* x) {
  return hn::ConvertTo(d, hn::PromoteTo(hn::RebindToSigned<D>(), hn::LoadU(hn::Rebind<int8_t, D>(), x)));
}

// Rows of kI8I4: what loads them, in place of the type of their numbers.
struct ByteNibble {};
template <typename T>
using KeyOf = std::conditional_t<std::is_same_v<T, ByteNibble>, int8_t, T>;
template <typename T>
constexpr bool kHasScales = std::is_same_v<KeyOf<T>, int8_t>;

// Values [at, at + lanes) of a row; D/2 is a multiple of as many lanes where T is ByteNibble. Without scales.
template <typename T, class D>
HWY_INLINE hn::Vec<D> load_values(D d, const void* row, int64_t dim, int64_t at) {
  if constexpr (std::is_same_v<T, ByteNibble>) {
    const hn::RebindToSigned<D> d32;
    const bool upper = at >= dim / 2;
    const auto* pairs = static_cast<const uint8_t*>(row) + dim + (upper ? at - dim / 2 : at);
    const auto wide = hn::PromoteTo(d32, hn::LoadU(hn::Rebind<uint8_t, D>(), pairs));
    return hn::ConvertTo(d, upper ? hn::ShiftRight<4>(wide) : hn::And(wide, hn::Set(d32, 15)));
  } else {
    return load_f32(d, static_cast<const T*>(row) + dim + at);
  }
}

// What a row with scales ends with, `at` bytes into it: what keys (0) and values (1) are multiplied by; of kI8I4 what
// is added to values (2).
HWY_INLINE float row_float(const void* row, int64_t at, int part) {
  float x;
  std::memcpy(&x, static_cast<const char*>(row) + at + part * static_cast<int64_t>(sizeof(x)), sizeof(x));
  return x;
}

// The greater of both in size, as bits: infinity is greater than any number, and NaN than infinity.
template <class D, class V = hn::Vec<D>>
HWY_INLINE hn::Vec<hn::RebindToSigned<D>> greater_bits(D, hn::Vec<hn::RebindToSigned<D>> bits, V x) {
  return hn::Max(bits, hn::BitCast(hn::RebindToSigned<D>(), hn::Abs(x)));
}

// 2^x for x <= 0, relative error below 2e-7; exactly 0 below -126, so for -infinity too.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V exp2_nonpositive(D d, V x) {
  const hn::RebindToSigned<D> di;
  const V magic = hn::Set(d, 0x1.8p23f);  // adding it leaves round(x) in the low bits
  const V rounded = hn::Add(x, magic);
  const V f = hn::Sub(x, hn::Sub(rounded, magic));  // [-1/2, 1/2]
  // Minimax of relative error over that range, constant term fixed to 1 so that 2^0 = 1.
  V p = hn::Set(d, 0.001326472731307149f);
  p = hn::MulAdd(p, f, hn::Set(d, 0.009671512991189957f));
  p = hn::MulAdd(p, f, hn::Set(d, 0.05550733581185341f));
  p = hn::MulAdd(p, f, hn::Set(d, 0.24022242426872253f));
  p = hn::MulAdd(p, f, hn::Set(d, 0.6931470036506653f));
  p = hn::MulAdd(p, f, hn::Set(d, 1.f));
  const V scaled = hn::BitCast(d, hn::Add(hn::BitCast(di, p), hn::ShiftLeft<23>(hn::BitCast(di, rounded))));
  return hn::IfThenElseZero(hn::Ge(x, hn::Set(d, -126.f)), scaled);
}

#if HWY_TARGET == HWY_SCALAR

template <class D, class V = hn::Vec<D>>
HWY_INLINE void store_sums_of_4(D d, V a, V b, V c, V e, float* out) {
  for (const V& v : {a, b, c, e}) hn::Store(v, d, out++);
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE void store_sums_of_2_and_2(D d, V a, V b, V c, V e, float* out, int64_t stride) {
  hn::Store(a, d, out), hn::Store(b, d, out + 1), hn::Store(c, d, out + stride), hn::Store(e, d, out + stride + 1);
}

#else

// The 128-bit blocks of v added up.
template <class D, class V = hn::Vec<D>>
HWY_INLINE auto sum_of_blocks(D d, V v) {
  if constexpr (hn::MaxLanes(d) == 4) {
    return v;
  } else {
    const hn::Half<D> half;
    return sum_of_blocks(half, hn::Add(hn::LowerHalf(half, v), hn::UpperHalf(half, v)));
  }
}

// Four lanes as they are stored: sums of integers become floats.
template <class V4>
HWY_INLINE auto as_floats(V4 v) {
  const hn::FixedTag<float, 4> d;
  if constexpr (std::is_same_v<hn::TFromV<V4>, float>) {
    return v;
  } else {
    return hn::ConvertTo(d, v);
  }
}

// The sums of the lanes of a, b, c, e: 13 instructions on AVX2, where one sum after another takes 24.
template <class D, class V = hn::Vec<D>>
HWY_INLINE auto sums_of_4(D d, V a, V b, V c, V e) {
  const hn::Repartition<double, D> pairs;
  const V ab = hn::Add(hn::InterleaveLower(d, a, b), hn::InterleaveUpper(d, a, b));
  const V ce = hn::Add(hn::InterleaveLower(d, c, e), hn::InterleaveUpper(d, c, e));
  const auto x = hn::BitCast(pairs, ab), y = hn::BitCast(pairs, ce);
  const V quads = hn::Add(hn::BitCast(d, hn::InterleaveLower(pairs, x, y)),
                          hn::BitCast(d, hn::InterleaveUpper(pairs, x, y)));  // a b c e in each 128-bit block
  return sum_of_blocks(d, quads);
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE void store_sums_of_4(D d, V a, V b, V c, V e, float* out) {
  hn::StoreU(as_floats(sums_of_4(d, a, b, c, e)), hn::FixedTag<float, 4>(), out);
}

// out[0, 2) = the sums of a and b, out[stride, stride + 2) those of c and e.
template <class D, class V = hn::Vec<D>>
HWY_INLINE void store_sums_of_2_and_2(D d, V a, V b, V c, V e, float* out, int64_t stride) {
  const hn::FixedTag<float, 2> pair;
  const auto sums = as_floats(sums_of_4(d, a, b, c, e));
  hn::StoreU(hn::LowerHalf(pair, sums), pair, out);
  hn::StoreU(hn::UpperHalf(pair, sums), pair, out + stride);
}

#endif

}  // namespace HWY_NAMESPACE
}  // namespace lowkey
HWY_AFTER_NAMESPACE();

#endif
