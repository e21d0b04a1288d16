#include "ops/rotate_heads.h"

#include <algorithm>

#include "base/error.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/rotate_heads.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "ops/cpu/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lowkey {
namespace HWY_NAMESPACE {
namespace {

// D is a multiple of 8.
using D = hn::CappedTag<float, 8>;

// out = matrix x: four rows of the matrix at a time.
void multiply(const float* matrix, const float* x, int64_t dim, float* out) {
  const D d;
  for (int64_t j = 0; j < dim; j += 4) {
    hn::Vec<D> sum[4];
    for (auto& s : sum) s = hn::Zero(d);
    for (int64_t i = 0; i < dim; i += static_cast<int64_t>(hn::Lanes(d))) {
      const auto value = hn::LoadU(d, x + i);
      for (int r = 0; r < 4; ++r) sum[r] = hn::MulAdd(hn::LoadU(d, matrix + (j + r) * dim + i), value, sum[r]);
    }
    store_sums_of_4(d, sum[0], sum[1], sum[2], sum[3], out + j);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lowkey
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lowkey {
namespace {

HWY_EXPORT(multiply);

void check(const RotateHeadsArgs& a) {
  LK_REQUIRE(a.x.rank == 3 && a.x.dtype == DType::kF32 && a.x.dim(2) % 8 == 0, kInvalidArgument,
             "[rotate_heads] x={}, must be f32 [T, H, D], D a multiple of 8", a.x.describe());
  LK_REQUIRE(a.matrix.rank == 3 && a.matrix.dtype == DType::kF32 && a.matrix.dim(1) == a.x.dim(2) &&
                 a.matrix.dim(2) == a.x.dim(2) && a.matrix.dim(0) >= 1 && a.x.dim(1) % a.matrix.dim(0) == 0,
             kInvalidArgument, "[rotate_heads] matrix={} for x={}", a.matrix.describe(), a.x.describe());
}

}  // namespace

void rotate_heads(const Context& context, const RotateHeadsArgs& a) {
  check(a);
  constexpr int64_t kGrain = 8;  // rows worth waking a thread for
  const int64_t heads = a.x.dim(1), dim = a.x.dim(2), group = heads / a.matrix.dim(0);
  const auto kernel = HWY_DYNAMIC_DISPATCH(multiply);
  Scratch::Frame frame(context.scratch);
  float* out = frame.take<float>(context.threads.count() * dim);
  context.threads.split(a.x.rows(), kGrain, [&](int64_t begin, int64_t end, int thread) {
    float* mine = out + thread * dim;
    for (int64_t row = begin; row < end; ++row) {
      kernel(a.matrix.f32() + row % heads / group * dim * dim, a.x.f32_row(row), dim, mine);
      std::copy_n(mine, dim, a.x.f32_row(row));
    }
  });
}

}  // namespace lowkey
#endif
