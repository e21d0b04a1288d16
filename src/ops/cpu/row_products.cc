// Blocks of rows against blocks of rows, only those on and below the diagonal; within two blocks a stretch of columns
// at a time, which stays in L1 while tiles of 4 x 3 rows pass over it: 12 sums, 3 rows and one more fill 16 registers.
#include "ops/row_products.h"

#include <algorithm>

#include "base/error.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/row_products.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace lowkey::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
namespace {

constexpr int kBlock = 12, kTall = 4, kWide = 3;
constexpr int64_t kStretch = 256;  // columns: two blocks take 24 KiB

using D = hn::ScalableTag<double>;
using Half = hn::Rebind<float, D>;

// sums[i * kBlock + j] += the products of columns [0, n).
void multiply_tile(const float* const* a, const float* const* b, int64_t n, double* sums) {
  const D d;
  const auto load = [&](const float* x) HWY_ATTR { return hn::PromoteTo(d, hn::LoadU(Half(), x)); };
  hn::Vec<D> sum[kTall][kWide];
  for (auto& row : sum) std::fill_n(row, kWide, hn::Zero(d));
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d)), whole = n / lanes * lanes;
  for (int64_t k = 0; k < whole; k += lanes) {
    const auto b0 = load(b[0] + k), b1 = load(b[1] + k), b2 = load(b[2] + k);
    for (int i = 0; i < kTall; ++i) {
      const auto x = load(a[i] + k);
      sum[i][0] = hn::MulAdd(x, b0, sum[i][0]);
      sum[i][1] = hn::MulAdd(x, b1, sum[i][1]);
      sum[i][2] = hn::MulAdd(x, b2, sum[i][2]);
    }
  }
  for (int i = 0; i < kTall; ++i)
    for (int j = 0; j < kWide; ++j) {
      double total = hn::GetLane(hn::SumOfLanes(d, sum[i][j]));
      for (int64_t k = whole; k < n; ++k) total += double{a[i][k]} * b[j][k];
      sums[i * kBlock + j] += total;
    }
}

// Rows from `row` and `column` on, kBlock each; those past the end repeat the last one and are not stored.
void multiply_blocks(const RowProductsArgs& a, int64_t row, int64_t column) {
  const int64_t n = a.x.rows(), last = n - 1, depth = a.x.columns();
  double sums[kBlock * kBlock] = {};
  for (int64_t begin = 0; begin < depth; begin += kStretch) {
    const float *left[kBlock], *right[kBlock];
    for (int i = 0; i < kBlock; ++i) {
      left[i] = a.x.f32_row(std::min(row + i, last)) + begin;
      right[i] = a.x.f32_row(std::min(column + i, last)) + begin;
    }
    for (int i = 0; i < kBlock; i += kTall)
      for (int j = 0; j < kBlock; j += kWide)
        multiply_tile(left + i, right + j, std::min(kStretch, depth - begin), sums + i * kBlock + j);
  }
  for (int64_t i = row; i < std::min(row + kBlock, n); ++i)
    for (int64_t j = column; j < std::min(column + kBlock, i + 1); ++j)
      a.out[i * n + j] = a.out[j * n + i] = sums[(i - row) * kBlock + j - column];
}

void multiply_all(const Context& context, const RowProductsArgs& a) {
  const int64_t blocks = (a.x.rows() + kBlock - 1) / kBlock;
  context.threads.dynamic(blocks * blocks, [&](int64_t i, int) {
    const int64_t row = i / blocks, column = i % blocks;
    if (column <= row) multiply_blocks(a, row * kBlock, column * kBlock);
  });
}

}  // namespace
}  // namespace lowkey::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lowkey {

HWY_EXPORT(multiply_all);

void row_products(const Context& context, const RowProductsArgs& a) {
  LK_REQUIRE(a.x.dtype == DType::kF32 && a.x.rank == 2 && a.out != nullptr, kInvalidArgument,
             "[row_products] x {}, must be [N, K] f32", a.x.describe());
  HWY_DYNAMIC_DISPATCH(multiply_all)(context, a);
}

}  // namespace lowkey
#endif
