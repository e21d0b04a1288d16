#include "linalg/nearest_entry.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "linalg/nearest_entry.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace lowkey {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

constexpr int kEntries = 16;

// As many points as a vector holds, from point `at` on.
template <class D>
HWY_INLINE void search(D d, const NearestEntryArgs& a, int64_t at) {
  const hn::RebindToSigned<D> di;
  auto least = hn::Inf(d);
  auto code = hn::Zero(di);
  for (int e = 0; e < kEntries; ++e) {
    auto sum = hn::Zero(d);
    for (int w = 0; w < a.width; ++w) {
      const auto gap = hn::Sub(hn::LoadU(d, a.points + w * a.stride + at), hn::Set(d, a.entries[w * kEntries + e]));
      sum = hn::MulAdd(gap, gap, sum);
    }
    const auto nearer = hn::Lt(sum, least);
    least = hn::IfThenElse(nearer, sum, least);
    code = hn::IfThenElse(hn::RebindMask(di, nearer), hn::Set(di, e), code);
  }
  hn::StoreU(least, d, a.distances + at);
  hn::StoreU(code, di, a.codes + at);
}

void nearest_entry(const NearestEntryArgs& a) {
  const hn::ScalableTag<float> d;
  const hn::CappedTag<float, 1> one;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t at = 0;
  for (; at + lanes <= a.count; at += lanes) search(d, a, at);
  for (; at < a.count; ++at) search(one, a, at);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lowkey
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lowkey {

HWY_EXPORT(nearest_entry);

void nearest_entry(const NearestEntryArgs& a) noexcept { HWY_DYNAMIC_DISPATCH(nearest_entry)(a); }

}  // namespace lowkey
#endif
