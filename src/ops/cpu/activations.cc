// Rows of x as gemv and gemm read them. A block with an infinity or a NaN has a scale that is no number, so that
// nothing it meets becomes one.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "ops/cpu/gemv.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/activations.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "ops/cpu/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lowkey::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using DF = hn::CappedTag<float, 8>;
using D32 = hn::RebindToSigned<DF>;
constexpr int kLanes = static_cast<int>(hn::MaxLanes(DF()));
constexpr float kLeast = 1e-30f;  // below it the inverse overflows, and numbers count as zeros

// The largest magnitude of a block; NaN before all others, as their bits are greater.
float peak_of(const float* x) {
  hn::Vec<D32> peak = hn::Zero(D32());
  for (int i = 0; i < kQuantBlock; i += kLanes) {
    peak = greater_bits(DF(), peak, hn::LoadU(DF(), x + i));
  }
  return hn::GetLane(hn::BitCast(DF(), hn::MaxOfLanes(D32(), peak)));
}

// What kByteMax stands for in a block, or less: its peak, or so much that the sums of its rounded halves stay within
// kHalfMax. That is more than the peak where most numbers are near it, by twice at most: of normal numbers in some
// blocks of a hundred.
float reach_of(const float* x, float peak) {
  float most = 0;
  for (int half = 0; half < kQuantBlock; half += 16) {
    hn::Vec<DF> sum = hn::Zero(DF());
    for (int i = half; i < half + 16; i += kLanes) sum = hn::Add(sum, hn::Abs(hn::LoadU(DF(), x + i)));
    most = std::max(most, hn::GetLane(hn::SumOfLanes(DF(), sum)));
  }
  return std::max(peak, most * (kByteMax / (kHalfMax - kHalfRounding)));
}

template <class D>
HWY_INLINE hn::Vec<D32> rounded(D to, const float* x, float inverse, hn::TFromD<D>* out) {
  const hn::Vec<D32> whole = hn::NearestInt(hn::Mul(hn::LoadU(DF(), x), hn::Set(DF(), inverse)));
  hn::StoreU(hn::DemoteTo(to, whole), to, out);
  return whole;
}

void quantize_words(const float* x, int16_t* q, float* scale, int64_t depth) {
  const hn::Rebind<int16_t, DF> d16;
  for (int64_t b = 0; b < depth / kQuantBlock; ++b, x += kQuantBlock, q += kQuantBlock) {
    const float peak = peak_of(x), inverse = peak < kLeast ? 0.f : kWordMax / peak;
    scale[b] = peak < INFINITY ? peak / kWordMax : NAN;
    for (int i = 0; i < kQuantBlock; i += kLanes) rounded(d16, x + i, inverse, q + i);
  }
}

// Codes and sums of block b, whose scale is known.
void quantize_block(const float* x, int b, ByteGroup& out) {
  const hn::Rebind<int8_t, DF> d8;
  const float inverse = 1 / out.scale[b];
  for (int h = 0; h < 2; ++h, x += 16) {
    int8_t* q = out.q + b * kQuantBlock + 16 * h;
    hn::Vec<D32> sum = hn::Zero(D32());
    for (int i = 0; i < 16; i += kLanes) sum = hn::Add(sum, rounded(d8, x + i, inverse, q + i));
    out.sum[h][b] = static_cast<int16_t>(hn::GetLane(hn::SumOfLanes(D32(), sum)));
    std::memcpy(out.paired + b % 4 * 64 + 32 * h + b / 4 * 16, q, 16);
  }
  out.total[b] = out.scale[b] * static_cast<float>(out.sum[0][b] + out.sum[1][b]);
}

void quantize_group(const float* x, int blocks, ByteGroup& out) {
  std::memset(&out, 0, sizeof out);
  float reach[kSuperBlock / kQuantBlock], most = 0;
  for (int b = 0; b < blocks; ++b) {
    const float* block = x + b * kQuantBlock;
    const float peak = peak_of(block);
    reach[b] = peak < INFINITY ? reach_of(block, peak) : peak;
    most = std::max(most, reach[b]);
    if (!(reach[b] < INFINITY)) {
      out.unit = NAN;
      std::fill_n(out.scale, kSuperBlock / kQuantBlock, NAN);
      return;
    }
  }
  if (most < kLeast) return;
  out.unit = most / (kByteMax * kShareMax);
  for (int b = 0; b < blocks; ++b, x += kQuantBlock) {
    // At least 1 for what is not zero, at most kShareMax: rounded up, a code never exceeds kByteMax.
    const float share = std::ceil(std::min(reach[b] / most, 1.f) * kShareMax);
    out.share[b] = static_cast<int16_t>(share);
    out.scale[b] = out.unit * share;
    if (share > 0) quantize_block(x, b, out);
  }
}

void quantize_bytes(const float* x, ByteGroup* groups, int64_t depth) {
  for (; depth > 0; depth -= kSuperBlock, x += kSuperBlock) {
    quantize_group(x, static_cast<int>(std::min<int64_t>(depth, kSuperBlock) / kQuantBlock), *groups++);
  }
}

}  // namespace
}  // namespace lowkey::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lowkey {

HWY_EXPORT(quantize_words);
HWY_EXPORT(quantize_bytes);

void quantize_words(const float* x, int16_t* q, float* scale, int64_t depth) noexcept {
  HWY_DYNAMIC_DISPATCH(quantize_words)(x, q, scale, depth);
}

void quantize_bytes(const float* x, ByteGroup* groups, int64_t depth) noexcept {
  HWY_DYNAMIC_DISPATCH(quantize_bytes)(x, groups, depth);
}

}  // namespace lowkey
#endif
