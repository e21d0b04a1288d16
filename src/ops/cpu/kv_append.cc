#include "ops/kv_append.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "base/half.h"
#include "ops/check_kv.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/kv_append.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace lowkey {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

// D is a multiple of 8: no vector is cut short.
using D = hn::CappedTag<float, 8>;
constexpr int kLanes = static_cast<int>(hn::MaxLanes(D()));

void to_f16(const float* x, uint16_t* out, int64_t n) {
#if HWY_TARGET <= HWY_AVX2
  const hn::Rebind<hwy::float16_t, D> d16;
  for (int64_t i = 0; i < n; i += kLanes)
    hn::StoreU(hn::DemoteTo(d16, hn::LoadU(D(), x + i)), d16, reinterpret_cast<hwy::float16_t*>(out) + i);
#else
  for (int64_t i = 0; i < n; ++i) out[i] = f32_to_f16(x[i]);  // Highway's own rounds down without F16C
#endif
}

// As f32_to_bf16: Highway's DemoteTo cuts off instead of rounding.
void to_bf16(const float* x, uint16_t* out, int64_t n) {
  const hn::Rebind<uint32_t, D> du;
  const hn::Rebind<uint16_t, D> d16;
  for (int64_t i = 0; i < n; i += kLanes) {
    const auto value = hn::LoadU(D(), x + i);
    const auto bits = hn::BitCast(du, value);
    const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1));
    const auto rounded = hn::ShiftRight<16>(hn::Add(hn::Add(bits, hn::Set(du, 0x7fff)), odd));
    const auto quiet = hn::Or(hn::ShiftRight<16>(bits), hn::Set(du, 0x40));
    const auto is_nan = hn::RebindMask(du, hn::Ne(value, value));
    hn::StoreU(hn::TruncateTo(d16, hn::IfThenElse(is_nan, quiet, rounded)), d16, out + i);
  }
}

void convert(DType dtype, const float* x, std::byte* out, int64_t n) {
  if (dtype == DType::kF16) return to_f16(x, reinterpret_cast<uint16_t*>(out), n);
  if (dtype == DType::kBF16) return to_bf16(x, reinterpret_cast<uint16_t*>(out), n);
  for (int64_t i = 0; i < n; i += kLanes) hn::StoreU(hn::LoadU(D(), x + i), D(), reinterpret_cast<float*>(out) + i);
}

// Lanes of what is finite add nothing; NaN from what is not.
HWY_INLINE hn::Vec<D> none_if_finite(hn::Vec<D> x) { return hn::Sub(x, x); }

// As store_bytes of the reference, D numbers and then their scale.
void to_bytes(const float* x, int8_t* out, std::byte* scale_out, int64_t n) {
  const hn::Rebind<int8_t, D> d8;
  auto peak = hn::Zero(D()), sum = hn::Zero(D());
  for (int64_t i = 0; i < n; i += kLanes) {
    const auto value = hn::LoadU(D(), x + i);
    peak = hn::Max(peak, hn::Abs(value));
    sum = hn::Add(sum, none_if_finite(value));
  }
  const float highest = hn::GetLane(hn::MaxOfLanes(D(), peak));
  const bool finite = hn::GetLane(hn::SumOfLanes(D(), sum)) == 0;
  float scale = 0, inverse = 0;
  if (finite && highest >= 1e-30f) {
    scale = std::bit_cast<float>((std::bit_cast<uint32_t>(highest / 127.f) + 0xff) & ~uint32_t{0xff});
    inverse = 1.f / scale;
  }
  const auto factor = hn::Set(D(), inverse);
  for (int64_t i = 0; i < n; i += kLanes) {
    const auto rounded = hn::NearestInt(hn::Mul(hn::LoadU(D(), x + i), factor));
    hn::StoreU(finite ? hn::DemoteTo(d8, rounded) : hn::Zero(d8), d8, out + i);
  }
  if (!finite) scale = std::numeric_limits<float>::quiet_NaN();
  std::memcpy(scale_out, &scale, sizeof(scale));
}

// As store_nibbles of the reference.
void to_nibbles(const float* x, std::byte* out, std::byte* scale_out, int64_t n) {
  const hn::Rebind<int32_t, D> d32;
  const hn::Rebind<uint8_t, D> d8;
  auto low = hn::LoadU(D(), x), high = low, sum = hn::Zero(D());
  for (int64_t i = 0; i < n; i += kLanes) {
    const auto value = hn::LoadU(D(), x + i);
    low = hn::Min(low, value), high = hn::Max(high, value);
    sum = hn::Add(sum, none_if_finite(value));
  }
  const float least = hn::GetLane(hn::MinOfLanes(D(), low)), range = hn::GetLane(hn::MaxOfLanes(D(), high)) - least;
  const bool finite = hn::GetLane(hn::SumOfLanes(D(), sum)) == 0 && std::isfinite(range);
  float stored[2] = {0.f, least}, inverse = 0;
  if (finite && range >= 1e-30f) {
    stored[0] = std::bit_cast<float>((std::bit_cast<uint32_t>(range / 15.f) + 0x80) & ~uint32_t{0xff});
    inverse = 1.f / stored[0];
  }
  const auto step = [&](const float* from) HWY_ATTR {
    const auto up = hn::Mul(hn::Sub(hn::LoadU(D(), from), hn::Set(D(), least)), hn::Set(D(), inverse));
    return hn::Min(hn::NearestInt(up), hn::Set(d32, 15));
  };
  for (int64_t i = 0; i < n / 2; i += kLanes) {
    const auto pair = hn::Or(step(x + i), hn::ShiftLeft<4>(step(x + n / 2 + i)));
    hn::StoreU(finite ? hn::DemoteTo(d8, pair) : hn::Zero(d8), d8, reinterpret_cast<uint8_t*>(out) + i);
  }
  if (!finite) stored[0] = std::numeric_limits<float>::quiet_NaN(), stored[1] = 0.f;
  std::memcpy(scale_out, stored, sizeof(stored));
}

void append_bytes(const KvPages& kv, const float* k, const float* v, std::byte* row) {
  const int64_t dim = kv.head_dim;
  std::byte *scales = row + kv.scale_offset(), *value_scale = scales + sizeof(float);
  to_bytes(k, reinterpret_cast<int8_t*>(row), scales, dim);
  if (kv.dtype == DType::kI8) return to_bytes(v, reinterpret_cast<int8_t*>(row) + dim, value_scale, dim);
  to_nibbles(v, row + dim, value_scale, dim);
}

// New tokens [begin, end).
void append_tokens(const KvAppendArgs& a, int64_t begin, int64_t end) {
  const int64_t first = a.kv.length - a.k.dim(0), value = a.kv.value_offset(), heads = a.kv.kv_heads;
  for (int head = 0; head < heads; ++head) {
    for (int64_t t = begin; t < end; ++t) {
      std::byte* row = a.kv.token(head, first + t);
      const float *k = a.k.f32_row(t * heads + head), *v = a.v.f32_row(t * heads + head);
      if (has_scales(a.kv.dtype)) {
        append_bytes(a.kv, k, v, row);
        continue;
      }
      convert(a.kv.dtype, k, row, a.kv.head_dim);
      convert(a.kv.dtype, v, row + value, a.kv.head_dim);
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lowkey
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lowkey {
namespace {

HWY_EXPORT(append_tokens);

void check(const KvAppendArgs& a) {
  check_kv("kv_append", a.kv);
  for (const View& x : {a.k, a.v}) {
    LK_REQUIRE(x.rank == 3 && x.dtype == DType::kF32 && x.dim(1) == a.kv.kv_heads && x.dim(2) == a.kv.head_dim,
               kInvalidArgument, "[kv_append] {}, must be f32 [T, {}, {}]", x.describe(), a.kv.kv_heads, a.kv.head_dim);
  }
  LK_REQUIRE(a.k.dim(0) == a.v.dim(0) && a.k.dim(0) <= a.kv.length, kInvalidArgument,
             "[kv_append] {} keys, {} values, length={}: as many keys as values, at most length", a.k.dim(0),
             a.v.dim(0), a.kv.length);
}

}  // namespace

void kv_append(const Context& context, const KvAppendArgs& a) {
  check(a);
  constexpr int64_t kGrain = 16;  // tokens worth waking a thread for
  const int64_t tokens = a.k.dim(0);
  const auto kernel = HWY_DYNAMIC_DISPATCH(append_tokens);
  if (tokens <= kGrain) return kernel(a, 0, tokens);
  context.threads.split(tokens, kGrain, [&](int64_t begin, int64_t end, int) { kernel(a, begin, end); });
}

}  // namespace lowkey
#endif
