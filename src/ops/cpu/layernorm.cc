// Three passes over a row, which lies in the L1 cache after the first: mean, variance about it, result. One pass with
// sum and sum of squares would lose the variance of rows far from zero.
#include "ops/layernorm.h"

#include <cmath>

#include "base/error.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/layernorm.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace lowkey::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
namespace {

// The sum of f(x) over a row, in four partial sums a lane: short chains, so that f32 is as good as a pairwise sum.
template <class F>
float sum_of(const float* x, int64_t n, F f) {
  const hn::ScalableTag<float> d;
  const hn::CappedTag<float, 1> single;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  auto s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
  int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    s0 = hn::Add(s0, f(d, hn::LoadU(d, x + i)));
    s1 = hn::Add(s1, f(d, hn::LoadU(d, x + i + lanes)));
    s2 = hn::Add(s2, f(d, hn::LoadU(d, x + i + 2 * lanes)));
    s3 = hn::Add(s3, f(d, hn::LoadU(d, x + i + 3 * lanes)));
  }
  float tail = 0;
  for (; i < n; ++i) tail += hn::GetLane(f(single, hn::LoadU(single, x + i)));
  return tail + hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(s0, s1), hn::Add(s2, s3))));
}

// out may be x.
void layernorm_row(const LayernormArgs& a, int64_t row) {
  const float *x = a.x.f32_row(row), *gain = a.gain.f32(), *bias = a.bias.f32();
  float* out = a.out.f32_row(row);
  const int64_t n = a.x.columns();
  const float mean = sum_of(x, n, [](auto, auto v) HWY_ATTR { return v; }) / static_cast<float>(n);
  const float squares = sum_of(x, n, [mean](auto d, auto v) HWY_ATTR {
    const auto away = hn::Sub(v, hn::Set(d, mean));
    return hn::Mul(away, away);
  });
  const float scale = 1.f / std::sqrt(squares / static_cast<float>(n) + a.eps);
  const hn::ScalableTag<float> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const auto unit = hn::Mul(hn::Sub(hn::LoadU(d, x + i), hn::Set(d, mean)), hn::Set(d, scale));
    hn::StoreU(hn::MulAdd(unit, hn::LoadU(d, gain + i), hn::LoadU(d, bias + i)), d, out + i);
  }
  for (; i < n; ++i) out[i] = (x[i] - mean) * scale * gain[i] + bias[i];
}

}  // namespace
}  // namespace lowkey::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "ops/cpu/share_rows.h"

namespace lowkey {

HWY_EXPORT(layernorm_row);

void layernorm(const Context& context, const LayernormArgs& a) {
  LK_REQUIRE(a.x.dtype == DType::kF32 && a.out.dtype == DType::kF32 && a.x.shape == a.out.shape, kInvalidArgument,
             "[layernorm] x {} and out {}, must be f32 of one shape", a.x.describe(), a.out.describe());
  for (const View& v : {a.gain, a.bias})
    LK_REQUIRE(v.dtype == DType::kF32 && v.elements() == a.x.columns(), kInvalidArgument,
               "[layernorm] gain {} and bias {}, must be f32[{}]", a.gain.describe(), a.bias.describe(), a.x.columns());
  share_rows(context.threads, a.x.rows(), a.x.columns(), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) HWY_DYNAMIC_DISPATCH(layernorm_row)(a, t);
  });
}

}  // namespace lowkey
#endif
