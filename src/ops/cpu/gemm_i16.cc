// Weights of kQ8_0 as int16 times activations as int16, summed exactly in int32 over a block of 32 columns, then scaled
// into f32. A multiply-add of int16 pairs does twice the products of an f32 one.
#include <algorithm>
#include <cstring>

#include "ops/cpu/gemm.h"
#include "ops/cpu/gemv.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/gemm_i16.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "ops/cpu/blocks-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lowkey::HWY_NAMESPACE {
namespace {

#if HWY_TARGET == HWY_SCALAR

const GemmKernel* kernel_i16() { return nullptr; }  // pairs need vectors: gemm_kernel takes f32

#else

constexpr int kVectors = 2, kPanel = kVectors * kLanesF;
constexpr int kGroup = 6;    // 6 x 2 sums, 2 vectors of x, a weight and a product: the 16 registers of AVX2
constexpr int kChunk = 256;  // a panel takes 8 KiB on AVX2
constexpr int kPairs = kQuantBlock / 2;

void pack(const float* x, int64_t depth, int64_t padded_depth, int t, void* panel, float* scale) noexcept {
  int16_t q[kChunk] = {};
  float scales[kChunk / kQuantBlock] = {};
  if (depth > 0) quantize_words(x, q, scales, depth);
  auto* out = static_cast<int16_t*>(panel) + 2 * t;
  for (int64_t k = 0; k < padded_depth; k += 2) std::memcpy(out + k * kPanel, q + k, 2 * sizeof(int16_t));
  for (int64_t b = 0; b < padded_depth / kQuantBlock; ++b) scale[b * kPanel + t] = scales[b];
}

void widen(DType, const std::byte* row, int64_t begin, int64_t depth, int64_t padded_depth, void* out,
           float* scale) noexcept {
  auto* q = static_cast<int16_t*>(out);
  for (int64_t b = 0; b < depth / kQuantBlock; ++b) {
    const Block block = load_block(reinterpret_cast<const uint8_t*>(row), begin / kQuantBlock + b);
    for (int i = 0; i < kBlockVectors; ++i) hn::Store(block.q[i], D16(), q + b * kQuantBlock + i * kLanes16);
    scale[b] = block.scale;
  }
  std::fill(q + depth, q + padded_depth, int16_t{0});
  std::fill(scale + depth / kQuantBlock, scale + padded_depth / kQuantBlock, 0.f);
}

// Left to itself GCC 12 loads the weights of all rows first and then spills half of the sums (1.6 times slower).
// Clang does not, and cannot read this.
HWY_INLINE void keep_order([[maybe_unused]] V32& a, [[maybe_unused]] V32& b) {
#if HWY_COMPILER_GCC_ACTUAL
  __asm__ volatile("" : "+v"(a.raw), "+v"(b.raw));
#endif
}

// Adds one block of kGroup rows of w; x is [kPairs, kPanel] pairs.
HWY_INLINE void multiply_block(const int16_t* w, const int16_t* x, const float* w_scale, const float* x_scale,
                               float* sums, int64_t sums_stride) {
  constexpr int kScales = kChunk / kQuantBlock;
  V32 dots[kGroup][kVectors];
  for (auto& row : dots) std::fill_n(row, kVectors, hn::Zero(D32()));
  V32 unused = hn::Zero(D32());
  HWY_UNROLL(16)  // all: GCC copies the loop-carried sums otherwise
  for (int p = 0; p < kPairs; ++p) {
    const auto* pairs = reinterpret_cast<const int32_t*>(x) + p * kPanel;
    const V16 x0 = hn::BitCast(D16(), hn::Load(D32(), pairs));
    const V16 x1 = hn::BitCast(D16(), hn::Load(D32(), pairs + kLanesF));
    for (int r = 0; r < kGroup; ++r) {
      int32_t pair;
      std::memcpy(&pair, w + r * kChunk + 2 * p, sizeof pair);
      const V16 weight = hn::BitCast(D16(), hn::Set(D32(), pair));
      dots[r][0] = hn::ReorderWidenMulAccumulate(D32(), weight, x0, dots[r][0], unused);
      dots[r][1] = hn::ReorderWidenMulAccumulate(D32(), weight, x1, dots[r][1], unused);
      keep_order(dots[r][0], dots[r][1]);
    }
  }
  for (int r = 0; r < kGroup; ++r) {
    const VF scale = hn::Set(DF(), w_scale[r * kScales]);
    for (int v = 0; v < kVectors; ++v) {
      float* out = sums + r * sums_stride + v * kLanesF;
      const VF both = hn::Mul(scale, hn::Load(DF(), x_scale + v * kLanesF));
      hn::Store(hn::MulAdd(hn::ConvertTo(DF(), dots[r][v]), both, hn::Load(DF(), out)), DF(), out);
    }
  }
}

void multiply(const GemmPanel& a) noexcept {
  for (int64_t n = 0; n < a.rows; n += kGroup) {
    for (int64_t b = 0; b < a.depth / kQuantBlock; ++b) {
      multiply_block(static_cast<const int16_t*>(a.w) + n * kChunk + b * kQuantBlock,
                     static_cast<const int16_t*>(a.x) + b * kQuantBlock * kPanel,
                     a.w_scale + n * (kChunk / kQuantBlock) + b, a.x_scale + b * kPanel, a.sums + n * a.sums_stride,
                     a.sums_stride);
    }
  }
}

const GemmKernel* kernel_i16() {
  static constexpr GemmKernel kKernel{kPanel,          kGroup,          kChunk, 1,    1,     kQuantBlock,
                                      2 * kQuantBlock, 2 * kQuantBlock, true,   pack, widen, multiply};
  return &kKernel;
}

#endif  // HWY_TARGET

}  // namespace
}  // namespace lowkey::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lowkey {

HWY_EXPORT(kernel_i16);

const GemmKernel& gemm_i16() noexcept { return *HWY_DYNAMIC_DISPATCH(kernel_i16)(); }

}  // namespace lowkey
#endif
