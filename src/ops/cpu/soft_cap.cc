#include "ops/soft_cap.h"

#include "base/error.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/soft_cap.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "ops/cpu/soft_cap-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lowkey::HWY_NAMESPACE {
namespace {

void cap_span(float* x, int64_t n, float cap) { soft_cap_span(x, n, cap); }

}  // namespace
}  // namespace lowkey::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "ops/cpu/share_rows.h"

namespace lowkey {

HWY_EXPORT(cap_span);

void soft_cap(const Context& context, const SoftCapArgs& a) {
  LK_REQUIRE(a.x.dtype == DType::kF32 && a.cap > 0, kInvalidArgument, "[soft_cap] x {} and cap {}, must be f32 and > 0",
             a.x.describe(), a.cap);
  share_rows(context.threads, a.x.rows(), a.x.columns(), [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(cap_span)(a.x.f32_row(begin), (end - begin) * a.x.columns(), a.cap);
  });
}

}  // namespace lowkey
#endif
