#include "ops/quantize.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/isa.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/quantize.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "ops/cpu/blocks-inl.h"
#include "ops/cpu/codes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lowkey::HWY_NAMESPACE {
namespace {

void dequantize_q8_0(const uint8_t* x, float* out, int64_t n) {
  const hn::Rebind<int16_t, DF> d_half;
  alignas(64) int16_t q[kQuantBlock];
  for (int64_t b = 0; b < n / kQuantBlock; ++b) {
    const Block block = load_block(x, b);
    for (int i = 0; i < kBlockVectors; ++i) hn::Store(block.q[i], D16(), q + i * kLanes16);
    for (int i = 0; i < kQuantBlock; i += kLanesF, out += kLanesF) {
      const V32 wide = hn::PromoteTo(D32(), hn::Load(d_half, q + i));
      hn::StoreU(hn::Mul(hn::Set(DF(), block.scale), hn::ConvertTo(DF(), wide)), DF(), out);
    }
  }
}

#if HWY_MAX_BYTES < 32

void dequantize_codes(DType type, const uint8_t* x, float* out, int64_t n) { ref::dequantize_row(type, x, out, n); }

#else

template <class Q>
void dequantize_group(const uint8_t* w, float* out, int64_t n) {
  const codes::DF df;
  const codes::D32 d32;
  const hn::Rebind<uint8_t, codes::D32> d8;
  codes::Group g;
  codes::unpack<Q>(w, n, g);
  for (int64_t i = 0; i < n; i += 8) {
    const int64_t b = i / kQuantBlock, h = i / 16 % 2;
    const auto wide = hn::Sub(hn::PromoteTo(d32, hn::Load(d8, g.code + i)), hn::Set(d32, Q::kOffset));
    auto value = hn::Mul(hn::Set(df, g.scale[h][b]), hn::ConvertTo(df, wide));
    if constexpr (Q::kOffset == 0) value = hn::Sub(value, hn::Set(df, g.min[h][b]));
    hn::StoreU(value, df, out + i);
  }
}

template <class Q>
void dequantize_groups(const uint8_t* w, float* out, int64_t n) {
  for (; n > 0; n -= kSuperBlock, w += Q::kBytes, out += kSuperBlock)
    dequantize_group<Q>(w, out, std::min<int64_t>(n, kSuperBlock));
}

void dequantize_codes(DType type, const uint8_t* x, float* out, int64_t n) {
  const bool known = codes::visit(type, [&](auto q) { dequantize_groups<decltype(q)>(x, out, n); });
  LK_DCHECK(known && "no such storage of numbers");
}

#endif  // HWY_TARGET

template <typename T>
void widen_16(const T* x, float* out, int64_t n) {
  int64_t i = 0;
  for (; i + kLanesF <= n; i += kLanesF) {
    hn::StoreU(hn::PromoteTo(DF(), hn::LoadU(hn::Rebind<T, DF>(), x + i)), DF(), out + i);
  }
  const hn::CappedTag<float, 1> one;
  for (; i < n; ++i) hn::StoreU(hn::PromoteTo(one, hn::LoadU(hn::Rebind<T, decltype(one)>(), x + i)), one, out + i);
}

void dequantize_any(DType type, const void* x, float* out, int64_t n) {
  const auto* bytes = static_cast<const uint8_t*>(x);
  switch (type) {
    case DType::kF32:
      std::memcpy(out, x, static_cast<size_t>(n) * sizeof(float));
      break;
    case DType::kF16:
      widen_16(static_cast<const hwy::float16_t*>(x), out, n);
      break;
    case DType::kBF16:
      widen_16(static_cast<const hwy::bfloat16_t*>(x), out, n);
      break;
    case DType::kQ8_0:
      dequantize_q8_0(bytes, out, n);
      break;
    default:
      dequantize_codes(type, bytes, out, n);
  }
}

}  // namespace
}  // namespace lowkey::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lowkey {

HWY_EXPORT(dequantize_any);

void dequantize_row(DType type, const void* x, float* out, int64_t n) noexcept {
  // Highway's scalar f16 knows no infinity and no NaN.
  if (active_isa() == Isa::kBaseline) return ref::dequantize_row(type, x, out, n);
  HWY_DYNAMIC_DISPATCH(dequantize_any)(type, x, out, n);
}

// Done once per converted file, and bound by the disk: the specification itself is fast enough.
void quantize_row(DType type, const float* x, void* out, int64_t n) noexcept { ref::quantize_row(type, x, out, n); }

namespace {

void require_shapes(const char* op, View x, View out, DType stored) {
  LK_REQUIRE(x.shape == out.shape && x.rank == out.rank, kInvalidArgument, "[{}] x {} and out {}, must have one shape",
             op, x.describe(), out.describe());
  LK_REQUIRE(is_weight(stored), kInvalidArgument, "[{}] type {}, must be a storage of weights", op, name(stored));
  LK_REQUIRE(x.columns() % block_elements(stored) == 0, kInvalidArgument, "[{}] K={}, must be a multiple of {} for {}",
             op, x.columns(), block_elements(stored), name(stored));
}

}  // namespace

void quantize(const Context& context, const QuantizeArgs& a) {
  LK_REQUIRE(a.x.dtype == DType::kF32, kInvalidArgument, "[quantize] x {}, must be f32", a.x.describe());
  LK_REQUIRE(a.out.dtype != DType::kQ6_K, kInvalidArgument, "[quantize] out {}, q6_k is read only", a.out.describe());
  require_shapes("quantize", a.x, a.out, a.out.dtype);
  context.threads.split(a.x.rows(), 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) quantize_row(a.out.dtype, a.x.f32_row(r), a.out.row(r), a.x.columns());
  });
}

void dequantize(const Context& context, const DequantizeArgs& a) {
  LK_REQUIRE(a.out.dtype == DType::kF32, kInvalidArgument, "[dequantize] out {}, must be f32", a.out.describe());
  require_shapes("dequantize", a.x, a.out, a.x.dtype);
  context.threads.split(a.x.rows(), 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) dequantize_row(a.x.dtype, a.x.row(r), a.out.f32_row(r), a.x.columns());
  });
}

}  // namespace lowkey
#endif
