#include <algorithm>

#include "ops/cpu/gemm.h"
#include "ops/quantize.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/gemm_f32.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace lowkey::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
namespace {

using DF = hn::ScalableTag<float>;
using VF = hn::Vec<DF>;
constexpr int kLanes = static_cast<int>(hn::MaxLanes(DF()));
constexpr int kVectors = 2, kPanel = kVectors * kLanes;
constexpr int kGroup = 6;    // 6 x 2 sums, 2 vectors of x and a weight: 15 of AVX2's 16 registers
constexpr int kChunk = 256;  // a panel takes 16 KiB on AVX2; a block of kQ6_K

void pack(const float* x, int64_t depth, int64_t padded_depth, int t, void* panel, float*) noexcept {
  float* out = static_cast<float*>(panel) + t;
  for (int64_t k = 0; k < padded_depth; ++k) out[k * kPanel] = k < depth ? x[k] : 0.f;
}

void widen(DType type, const std::byte* row, int64_t begin, int64_t depth, int64_t padded_depth, void* out,
           float*) noexcept {
  auto* floats = static_cast<float*>(out);
  if (depth > 0) dequantize_row(type, row + row_bytes(type, begin), floats, depth);
  std::fill(floats + depth, floats + padded_depth, 0.f);
}

void multiply(const GemmPanel& a) noexcept {
  for (int64_t n = 0; n < a.rows; n += kGroup) {
    const float* w = static_cast<const float*>(a.w) + n * kChunk;
    const float* x = static_cast<const float*>(a.x);
    VF sums[kGroup][kVectors];
    for (auto& row : sums) std::fill_n(row, kVectors, hn::Zero(DF()));
    for (int64_t k = 0; k < a.depth; ++k, ++w, x += kPanel) {
      const VF x0 = hn::Load(DF(), x), x1 = hn::Load(DF(), x + kLanes);
      for (int r = 0; r < kGroup; ++r) {
        const VF weight = hn::Set(DF(), w[r * kChunk]);
        sums[r][0] = hn::MulAdd(weight, x0, sums[r][0]);
        sums[r][1] = hn::MulAdd(weight, x1, sums[r][1]);
      }
    }
    for (int r = 0; r < kGroup; ++r) {
      float* out = a.sums + (n + r) * a.sums_stride;
      for (int v = 0; v < kVectors; ++v) {
        hn::Store(hn::Add(hn::Load(DF(), out + v * kLanes), sums[r][v]), DF(), out + v * kLanes);
      }
    }
  }
}

const GemmKernel* kernel_f32() {
  static constexpr GemmKernel kKernel{kPanel,          kGroup,          kChunk, 1,    1,     1,
                                      4 * kQuantBlock, 4 * kQuantBlock, false,  pack, widen, multiply};
  return &kKernel;
}

}  // namespace
}  // namespace lowkey::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lowkey {

HWY_EXPORT(kernel_f32);

const GemmKernel& gemm_f32() noexcept { return *HWY_DYNAMIC_DISPATCH(kernel_f32)(); }

}  // namespace lowkey
#endif
