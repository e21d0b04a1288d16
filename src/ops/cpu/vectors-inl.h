// Whole vectors of the numbers that products are made of. Included once per Highway target.
#if defined(LOWKEY_OPS_CPU_VECTORS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOWKEY_OPS_CPU_VECTORS_INL_H_
#undef LOWKEY_OPS_CPU_VECTORS_INL_H_
#else
#define LOWKEY_OPS_CPU_VECTORS_INL_H_
#endif

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace lowkey::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using DF = hn::ScalableTag<float>;
using D32 = hn::ScalableTag<int32_t>;
using D16 = hn::ScalableTag<int16_t>;
using VF = hn::Vec<DF>;
using V32 = hn::Vec<D32>;
using V16 = hn::Vec<D16>;
inline constexpr int kLanesF = static_cast<int>(hn::MaxLanes(DF()));
inline constexpr int kLanes16 = static_cast<int>(hn::MaxLanes(D16()));

}  // namespace lowkey::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
