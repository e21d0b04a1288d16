#include "ops/add.h"

#include "base/error.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/add.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace lowkey::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
namespace {

void add_span(float* HWY_RESTRICT x, const float* HWY_RESTRICT y, int64_t n) {
  const hn::ScalableTag<float> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(hn::Add(hn::LoadU(d, x + i), hn::LoadU(d, y + i)), d, x + i);
  for (; i < n; ++i) x[i] += y[i];
}

}  // namespace
}  // namespace lowkey::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "ops/cpu/share_rows.h"

namespace lowkey {

HWY_EXPORT(add_span);

void add(const Context& context, const AddArgs& a) {
  const int64_t columns = a.x.columns();
  const bool one_row = a.y.rank == 1 && a.y.columns() == columns && a.x.rank > 1;
  LK_REQUIRE(a.x.dtype == DType::kF32 && a.y.dtype == DType::kF32 && (one_row || a.x.shape == a.y.shape),
             kInvalidArgument, "[add] x {} and y {}, must be f32 of one shape, or y a row of x", a.x.describe(),
             a.y.describe());
  share_rows(context.threads, a.x.rows(), columns, [&](int64_t begin, int64_t end) {
    if (!one_row)
      return HWY_DYNAMIC_DISPATCH(add_span)(a.x.f32_row(begin), a.y.f32_row(begin), (end - begin) * columns);
    for (int64_t t = begin; t < end; ++t) HWY_DYNAMIC_DISPATCH(add_span)(a.x.f32_row(t), a.y.f32(), columns);
  });
}

}  // namespace lowkey
#endif
