// Four vectors against the rows of one matrix, once per Highway target: keys and queries into the index's coordinates.
// No include guard in the usual sense: Highway includes this file once for every target.
#if defined(LOWKEY_OPS_CPU_ROTATE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOWKEY_OPS_CPU_ROTATE_INL_H_
#undef LOWKEY_OPS_CPU_ROTATE_INL_H_
#else
#define LOWKEY_OPS_CPU_ROTATE_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>

#include "base/view.h"
#include "ops/cpu/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lowkey {
namespace HWY_NAMESPACE {

// matrix: [R, D], D a multiple of 8; x: four vectors of D (the same one may stand for several); out: [R rounded up to
// 2, 4]. Two rows at a time: a product waits for the sum before it.
inline void rotate_4(const View& matrix, const float* const x[4], float* out) {
  const hn::CappedTag<float, 8> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t rows = matrix.dim(0), dim = matrix.dim(1);
  for (int64_t r = 0; r < rows; r += 2) {
    const float* row[2] = {matrix.f32_row(r), matrix.f32_row(std::min(r + 1, rows - 1))};
    auto a0 = hn::Zero(d), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
    for (int64_t i = 0; i < dim; i += lanes) {
      const auto a = hn::LoadU(d, row[0] + i), b = hn::LoadU(d, row[1] + i);
      const auto x0 = hn::LoadU(d, x[0] + i), x1 = hn::LoadU(d, x[1] + i);
      const auto x2 = hn::LoadU(d, x[2] + i), x3 = hn::LoadU(d, x[3] + i);
      a0 = hn::MulAdd(a, x0, a0), a1 = hn::MulAdd(a, x1, a1), a2 = hn::MulAdd(a, x2, a2), a3 = hn::MulAdd(a, x3, a3);
      b0 = hn::MulAdd(b, x0, b0), b1 = hn::MulAdd(b, x1, b1), b2 = hn::MulAdd(b, x2, b2), b3 = hn::MulAdd(b, x3, b3);
    }
    store_sums_of_4(d, a0, a1, a2, a3, out + 4 * r);
    store_sums_of_4(d, b0, b1, b2, b3, out + 4 * r + 4);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace lowkey
HWY_AFTER_NAMESPACE();

#endif
