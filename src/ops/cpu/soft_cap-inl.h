// x -> cap tanh(x / cap), for kernels. Included once for each target, after highway.h.
#if defined(LOWKEY_OPS_CPU_SOFT_CAP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOWKEY_OPS_CPU_SOFT_CAP_INL_H_
#undef LOWKEY_OPS_CPU_SOFT_CAP_INL_H_
#else
#define LOWKEY_OPS_CPU_SOFT_CAP_INL_H_
#endif

#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

#include <cstdint>

HWY_BEFORE_NAMESPACE();
namespace lowkey {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// cap > 0.
inline HWY_ATTR void soft_cap_span(float* x, int64_t n, float cap) {
  const hn::ScalableTag<float> d;
  const hn::CappedTag<float, 1> one;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const float inverse = 1 / cap;
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes)
    hn::StoreU(hn::Mul(hn::Set(d, cap), hn::Tanh(d, hn::Mul(hn::LoadU(d, x + i), hn::Set(d, inverse)))), d, x + i);
  for (; i < n; ++i)
    hn::StoreU(hn::Mul(hn::Set(one, cap), hn::Tanh(one, hn::Mul(hn::LoadU(one, x + i), hn::Set(one, inverse)))), one,
               x + i);
}

}  // namespace HWY_NAMESPACE
}  // namespace lowkey
HWY_AFTER_NAMESPACE();

#endif
