#include "ops/add_softmax.h"

#include <algorithm>
#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/add_softmax.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "ops/cpu/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lowkey {
namespace HWY_NAMESPACE {
namespace {

void add_softmax(float* scores, int64_t count, float weight, float* mass) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  auto highest = hn::Set(d, scores[0]);
  int64_t t = 0;
  for (; t + lanes <= count; t += lanes) highest = hn::Max(highest, hn::LoadU(d, scores + t));
  float max = hn::GetLane(hn::MaxOfLanes(d, highest));
  for (; t < count; ++t) max = std::max(max, scores[t]);
  double total = 0;
  for (t = 0; t + lanes <= count;) {
    constexpr int64_t kBlock = 512;  // sums of f32 no longer than this, added up in f64
    auto sum = hn::Zero(d);
    for (const int64_t end = std::min(count, t + kBlock); t + lanes <= end; t += lanes) {
      const auto power = exp2_nonpositive(d, hn::Sub(hn::LoadU(d, scores + t), hn::Set(d, max)));
      hn::StoreU(power, d, scores + t);
      sum = hn::Add(sum, power);
    }
    total += hn::GetLane(hn::SumOfLanes(d, sum));
  }
  for (; t < count; ++t) total += scores[t] = std::exp2(scores[t] - max);
  const auto factor = static_cast<float>(weight / total);
  for (t = 0; t + lanes <= count; t += lanes)
    hn::StoreU(hn::MulAdd(hn::LoadU(d, scores + t), hn::Set(d, factor), hn::LoadU(d, mass + t)), d, mass + t);
  for (; t < count; ++t) mass[t] += scores[t] * factor;
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lowkey
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lowkey {

HWY_EXPORT(add_softmax);

void add_softmax(float* scores, int64_t count, float weight, float* mass) noexcept {
  HWY_DYNAMIC_DISPATCH(add_softmax)(scores, count, weight, mass);
}

}  // namespace lowkey
#endif
