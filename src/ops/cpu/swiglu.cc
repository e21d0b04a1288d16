#include "ops/swiglu.h"

#include "base/error.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/swiglu.cc"
// clang-format off: foreach_target.h comes first
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
#include <hwy/contrib/math/math-inl.h>
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace lowkey::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
namespace {

// exp is clamped where silu is 0 or x in f32 anyway; Highway's Exp is good to 1 ulp.
template <class D, class V>
V swiglu_of(D d, V gate, V up) {
  const V bounded = hn::Min(hn::Max(hn::Neg(gate), hn::Set(d, -87.f)), hn::Set(d, 88.f));
  return hn::Mul(hn::Div(gate, hn::Add(hn::Set(d, 1.f), hn::Exp(d, bounded))), up);
}

// out may be gate or up.
void swiglu_span(const float* gate, const float* up, float* out, int64_t n) {
  const hn::ScalableTag<float> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(swiglu_of(d, hn::LoadU(d, gate + i), hn::LoadU(d, up + i)), d, out + i);
  const hn::CappedTag<float, 1> one;
  for (; i < n; ++i) hn::StoreU(swiglu_of(one, hn::LoadU(one, gate + i), hn::LoadU(one, up + i)), one, out + i);
}

}  // namespace
}  // namespace lowkey::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "ops/cpu/share_rows.h"

namespace lowkey {

HWY_EXPORT(swiglu_span);

void swiglu(const Context& context, const SwigluArgs& a) {
  const bool f32 = a.gate.dtype == DType::kF32 && a.up.dtype == DType::kF32 && a.out.dtype == DType::kF32;
  LK_REQUIRE(f32 && a.gate.shape == a.up.shape && a.gate.shape == a.out.shape, kInvalidArgument,
             "[swiglu] gate {}, up {} and out {}, must be f32 of one shape", a.gate.describe(), a.up.describe(),
             a.out.describe());
  share_rows(context.threads, a.gate.rows(), a.gate.columns(), [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(swiglu_span)(a.gate.f32_row(begin), a.up.f32_row(begin), a.out.f32_row(begin),
                                      (end - begin) * a.gate.columns());
  });
}

}  // namespace lowkey
#endif
