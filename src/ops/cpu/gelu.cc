// x Phi(x) = max(x, 0) - t Q(t) with t = |x| and Q = 1 - Phi, so that nothing cancels on either side. Q falls as
// exp(-t^2 / 2); what is left, Q(t) exp(t^2 / 2), is smooth, and a polynomial in u = 1 / (1 + t c), the form that
// Abramowitz & Stegun 7.1.26 has for erf.
#include "ops/gelu.h"

#include "base/error.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/gelu.cc"
// clang-format off: foreach_target.h comes first
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
#include <hwy/contrib/math/math-inl.h>
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace lowkey::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
namespace {

// u times this polynomial: minimax of relative error for t in [0, 14.2] (Lawson's iteration), 2.7e-8.
constexpr float kSlope = 0.26f;
constexpr float kTail[] = {0.103758225f,  0.103030725f, 0.102931912f,  0.0514081685f, 0.160061099f,
                           -0.149671585f, 0.250378127f, -0.152291048f, 0.0303943626f};
constexpr float kFarthest = 13.2f;  // exp(-t^2 / 2) = 1.5e-38 there, the smallest normal number's size

template <class D, class V>
V gelu_of(D d, V x) {
  const V zero = hn::Zero(d), one = hn::Set(d, 1.f);
  const V t = hn::Min(hn::Abs(x), hn::Set(d, kFarthest));
  const V u = hn::Div(one, hn::MulAdd(t, hn::Set(d, kSlope), one));
  V p = hn::Set(d, kTail[8]);
  for (int i = 7; i >= 0; --i) p = hn::MulAdd(p, u, hn::Set(d, kTail[i]));
  const V tail = hn::Mul(hn::Mul(p, u), hn::Exp(d, hn::Mul(hn::Mul(t, t), hn::Set(d, -0.5f))));
  const V positive = hn::IfThenElse(hn::Lt(x, zero), zero, x);  // lets NaN through
  return hn::NegMulAdd(t, tail, positive);
}

// exp is clamped where the result is 0 or x in f32 anyway.
template <class D, class V>
V gelu_tanh_of(D d, V x) {
  constexpr float kSlopeAtZero = 1.5957691216057308f, kCubic = kSlopeAtZero * 0.044715f;  // of 2 z
  const V twice_z = hn::Mul(x, hn::MulAdd(hn::Mul(x, x), hn::Set(d, kCubic), hn::Set(d, kSlopeAtZero)));
  const V bounded = hn::Min(hn::Max(hn::Neg(twice_z), hn::Set(d, -87.f)), hn::Set(d, 88.f));
  return hn::Div(x, hn::Add(hn::Set(d, 1.f), hn::Exp(d, bounded)));
}

template <bool kTanh, class D>
HWY_INLINE void gelu_lanes(D d, const float* x, const float* up, float* out) {
  const auto v = hn::LoadU(d, x);
  const auto y = kTanh ? gelu_tanh_of(d, v) : gelu_of(d, v);
  hn::StoreU(up == nullptr ? y : hn::Mul(y, hn::LoadU(d, up)), d, out);
}

// out may be x or up, which may be null.
template <bool kTanh>
void gelu_rows(const float* x, const float* up, float* out, int64_t n) {
  const hn::ScalableTag<float> d;
  const hn::CappedTag<float, 1> single;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto at = [up](int64_t i) { return up == nullptr ? nullptr : up + i; };
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) gelu_lanes<kTanh>(d, x + i, at(i), out + i);
  for (; i < n; ++i) gelu_lanes<kTanh>(single, x + i, at(i), out + i);
}

void gelu_span(const float* x, const float* up, float* out, int64_t n) { gelu_rows<false>(x, up, out, n); }
void gelu_tanh_span(const float* x, const float* up, float* out, int64_t n) { gelu_rows<true>(x, up, out, n); }

}  // namespace
}  // namespace lowkey::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "ops/cpu/share_rows.h"

namespace lowkey {

HWY_EXPORT(gelu_span);
HWY_EXPORT(gelu_tanh_span);

void gelu(const Context& context, const GeluArgs& a) {
  LK_REQUIRE(a.x.dtype == DType::kF32 && a.out.dtype == DType::kF32 && a.x.shape == a.out.shape, kInvalidArgument,
             "[gelu] x {} and out {}, must be f32 of one shape", a.x.describe(), a.out.describe());
  LK_REQUIRE(!a.up || (a.up.dtype == DType::kF32 && a.up.shape == a.x.shape), kInvalidArgument,
             "[gelu] up {}, must be f32 of x's shape", a.up.describe());
  const auto kernel = a.tanh ? HWY_DYNAMIC_DISPATCH(gelu_tanh_span) : HWY_DYNAMIC_DISPATCH(gelu_span);
  share_rows(context.threads, a.x.rows(), a.x.columns(), [&](int64_t begin, int64_t end) {
    kernel(a.x.f32_row(begin), a.up ? a.up.f32_row(begin) : nullptr, a.out.f32_row(begin),
           (end - begin) * a.x.columns());
  });
}

}  // namespace lowkey
#endif
