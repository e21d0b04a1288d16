#include "ops/rmsnorm.h"

#include <cmath>

#include "base/error.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/rmsnorm.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace lowkey::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
namespace {

// Four partial sums a lane: short enough chains that f32 is as good as a pairwise sum.
float sum_of_squares(const float* x, int64_t n) {
  const hn::ScalableTag<float> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  auto s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
  int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    const auto x0 = hn::LoadU(d, x + i), x1 = hn::LoadU(d, x + i + lanes);
    const auto x2 = hn::LoadU(d, x + i + 2 * lanes), x3 = hn::LoadU(d, x + i + 3 * lanes);
    s0 = hn::MulAdd(x0, x0, s0);
    s1 = hn::MulAdd(x1, x1, s1);
    s2 = hn::MulAdd(x2, x2, s2);
    s3 = hn::MulAdd(x3, x3, s3);
  }
  float tail = 0;
  for (; i < n; ++i) tail += x[i] * x[i];
  return tail + hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(s0, s1), hn::Add(s2, s3))));
}

void rmsnorm_row(const float* x, const float* HWY_RESTRICT gain, float eps, float* out, int64_t n) {
  const hn::ScalableTag<float> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const float scale = 1.f / std::sqrt(sum_of_squares(x, n) / static_cast<float>(n) + eps);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    hn::StoreU(hn::Mul(hn::Mul(hn::LoadU(d, x + i), hn::Set(d, scale)), hn::LoadU(d, gain + i)), d, out + i);
  }
  for (; i < n; ++i) out[i] = x[i] * scale * gain[i];
}

}  // namespace
}  // namespace lowkey::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "ops/cpu/share_rows.h"

namespace lowkey {

HWY_EXPORT(rmsnorm_row);

void rmsnorm(const Context& context, const RmsnormArgs& a) {
  LK_REQUIRE(a.x.dtype == DType::kF32 && a.out.dtype == DType::kF32 && a.x.shape == a.out.shape, kInvalidArgument,
             "[rmsnorm] x {} and out {}, must be f32 of one shape", a.x.describe(), a.out.describe());
  LK_REQUIRE(a.gain.dtype == DType::kF32 && a.gain.elements() == a.x.columns(), kInvalidArgument,
             "[rmsnorm] gain {}, must be f32[{}]", a.gain.describe(), a.x.columns());
  share_rows(context.threads, a.x.rows(), a.x.columns(), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      HWY_DYNAMIC_DISPATCH(rmsnorm_row)(a.x.f32_row(t), a.gain.f32(), a.eps, a.out.f32_row(t), a.x.columns());
    }
  });
}

}  // namespace lowkey
#endif
