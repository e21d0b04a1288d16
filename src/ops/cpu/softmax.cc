#include "ops/softmax.h"

#include <cmath>

#include "base/error.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/softmax.cc"
// clang-format off: foreach_target.h comes first
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
#include <hwy/contrib/math/math-inl.h>
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace lowkey::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
namespace {

float peak_of(const float* x, int64_t n) {
  const hn::ScalableTag<float> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  auto peak = hn::Set(d, x[0]);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) peak = hn::Max(peak, hn::LoadU(d, x + i));
  float best = hn::GetLane(hn::MaxOfLanes(d, peak));
  for (; i < n; ++i) best = x[i] > best ? x[i] : best;
  return best;
}

// exp((x - peak) * inverse_temperature); arguments below -87 count as exp(-87), which is 0 beside the peak's 1.
template <class D>
hn::Vec<D> weight_of(D d, const float* x, float peak, float inverse_temperature) {
  const auto exponent = hn::Mul(hn::Sub(hn::LoadU(d, x), hn::Set(d, peak)), hn::Set(d, inverse_temperature));
  const auto weight = hn::Exp(d, hn::Max(exponent, hn::Set(d, -87.f)));
  return hn::IfThenElseZero(hn::Ge(exponent, hn::Set(d, -87.f)), weight);
}

// Sum of the weights, in f64 across blocks of f32 partial sums; stores them when out is given.
double sum_of_weights(const float* x, int64_t n, float peak, float inverse_temperature, float* out) {
  constexpr int64_t kBlock = 1024;
  const hn::ScalableTag<float> d;
  const hn::CappedTag<float, 1> one;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  double total = 0;
  int64_t i = 0;
  while (i + lanes <= n) {
    auto sum = hn::Zero(d);
    for (const int64_t end = i + kBlock < n ? i + kBlock : n; i + lanes <= end; i += lanes) {
      const auto weight = weight_of(d, x + i, peak, inverse_temperature);
      if (out != nullptr) hn::StoreU(weight, d, out + i);
      sum = hn::Add(sum, weight);
    }
    total += hn::GetLane(hn::SumOfLanes(d, sum));
  }
  for (; i < n; ++i) {
    const float weight = hn::GetLane(weight_of(one, x + i, peak, inverse_temperature));
    if (out != nullptr) out[i] = weight;
    total += weight;
  }
  return total;
}

void softmax_row(float* x, int64_t n, float inverse_temperature) {
  const hn::ScalableTag<float> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const float scale = static_cast<float>(1 / sum_of_weights(x, n, peak_of(x, n), inverse_temperature, x));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(hn::Mul(hn::LoadU(d, x + i), hn::Set(d, scale)), d, x + i);
  for (; i < n; ++i) x[i] *= scale;
}

float logsumexp_row(const float* x, int64_t n) {
  const float peak = peak_of(x, n);
  return static_cast<float>(peak + std::log(sum_of_weights(x, n, peak, 1.f, nullptr)));
}

}  // namespace
}  // namespace lowkey::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "ops/cpu/share_rows.h"

namespace lowkey {

HWY_EXPORT(softmax_row);
HWY_EXPORT(logsumexp_row);

void softmax(const Context& context, const SoftmaxArgs& a) {
  LK_REQUIRE(a.x.dtype == DType::kF32 && a.x.columns() >= 1, kInvalidArgument, "[softmax] x {}, must be f32[N, V >= 1]",
             a.x.describe());
  LK_REQUIRE(a.temperature > 0, kInvalidArgument, "[softmax] temperature={}, must be > 0", a.temperature);
  share_rows(context.threads, a.x.rows(), a.x.columns(), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      HWY_DYNAMIC_DISPATCH(softmax_row)(a.x.f32_row(r), a.x.columns(), 1 / a.temperature);
    }
  });
}

void logsumexp(const Context& context, View x, View out) {
  LK_REQUIRE(x.dtype == DType::kF32 && x.columns() >= 1, kInvalidArgument, "[logsumexp] x {}, must be f32[N, V >= 1]",
             x.describe());
  LK_REQUIRE(out.dtype == DType::kF32 && out.elements() == x.rows(), kInvalidArgument,
             "[logsumexp] out {}, must be f32[{}]", out.describe(), x.rows());
  share_rows(context.threads, x.rows(), x.columns(), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) out.f32()[r] = HWY_DYNAMIC_DISPATCH(logsumexp_row)(x.f32_row(r), x.columns());
  });
}

}  // namespace lowkey
#endif
