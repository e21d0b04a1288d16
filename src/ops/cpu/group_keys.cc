#include "ops/group_keys.h"

#include <algorithm>
#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/group_keys.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "ops/cpu/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lowkey {
namespace HWY_NAMESPACE {
namespace {

using D = hn::ScalableTag<float>;

// log2 of the sum of 2^x; sums of f32 in blocks, added up in f64.
float log2_sum(const float* x, int64_t count) {
  constexpr int64_t kBlock = 4096;
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  float max = x[0];
  int64_t t = 0;
  auto highest = hn::Set(d, max);
  for (; t + lanes <= count; t += lanes) highest = hn::Max(highest, hn::LoadU(d, x + t));
  max = hn::GetLane(hn::MaxOfLanes(d, highest));
  for (; t < count; ++t) max = std::max(max, x[t]);
  double total = 0;
  t = 0;
  while (t + lanes <= count) {
    auto sum = hn::Zero(d);
    for (const int64_t end = std::min(count, t + kBlock); t + lanes <= end; t += lanes)
      sum = hn::Add(sum, exp2_nonpositive(d, hn::Sub(hn::LoadU(d, x + t), hn::Set(d, max))));
    total += hn::GetLane(hn::SumOfLanes(d, sum));
  }
  for (; t < count; ++t) total += std::exp2(x[t] - max);
  return static_cast<float>(max + std::log2(total));
}

void group_keys(const float* scores, int heads, int64_t stride, int64_t count, float* keys) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int h = 0; h < heads; ++h) {
    const float* row = scores + h * stride;
    const float norm = log2_sum(row, count);
    const auto shift = hn::Set(d, norm);
    int64_t t = 0;
    if (h == 0) {
      for (; t + lanes <= count; t += lanes) hn::StoreU(hn::Sub(hn::LoadU(d, row + t), shift), d, keys + t);
      for (; t < count; ++t) keys[t] = row[t] - norm;
    } else {
      for (; t + lanes <= count; t += lanes)
        hn::StoreU(hn::Max(hn::LoadU(d, keys + t), hn::Sub(hn::LoadU(d, row + t), shift)), d, keys + t);
      for (; t < count; ++t) keys[t] = std::max(keys[t], row[t] - norm);
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lowkey
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lowkey {

HWY_EXPORT(group_keys);
HWY_EXPORT(log2_sum);

void group_keys(const float* scores, int heads, int64_t stride, int64_t count, float* keys) noexcept {
  HWY_DYNAMIC_DISPATCH(group_keys)(scores, heads, stride, count, keys);
}

float log2_sum(const float* x, int64_t count) noexcept { return HWY_DYNAMIC_DISPATCH(log2_sum)(x, count); }

}  // namespace lowkey
#endif
