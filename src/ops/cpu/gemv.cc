#include "ops/cpu/gemv.h"

#include <algorithm>

#include "base/error.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/gemv.cc"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "ops/cpu/blocks-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lowkey::HWY_NAMESPACE {

void QuantizeActivations(const float* x, int16_t* q, float* scale, int64_t depth) {
  const hn::Rebind<int16_t, DF> d_half;
  for (int64_t b = 0; b < depth / kQuantBlock; ++b, x += kQuantBlock, q += kQuantBlock) {
    VF peak = hn::Zero(DF());
    for (int i = 0; i < kQuantBlock; i += kLanesF) peak = hn::Max(peak, hn::Abs(hn::LoadU(DF(), x + i)));
    const float amax = hn::GetLane(hn::MaxOfLanes(DF(), peak));
    scale[b] = amax / kActivationMax;
    // Below this the inverse overflows, and the block counts as zeros.
    const VF inverse = hn::Set(DF(), amax < 1e-30f ? 0.f : kActivationMax / amax);
    for (int i = 0; i < kQuantBlock; i += kLanesF) {
      const V32 rounded = hn::NearestInt(hn::Mul(hn::LoadU(DF(), x + i), inverse));
      hn::StoreU(hn::DemoteTo(d_half, rounded), d_half, q + i);
    }
  }
}

// Sums over K of kRows rows of w with kT rows of x; the weights of the next kRows rows are fetched ahead.
template <DType kType, int kRows, int kT>
void DotBlocks(const uint8_t* w, int64_t row_size, const Activations& a, float (&out)[kRows][kT]) {
  const int64_t blocks = a.depth / kQuantBlock;
  VF sums[kRows][kT];
  for (auto& row : sums) std::fill_n(row, kT, hn::Zero(DF()));
  for (int64_t b = 0; b < blocks; ++b) {
    for (int r = 0; r < kRows; ++r) {
      const Block block = LoadBlock<kType>(w + r * row_size, b);
      for (int t = 0; t < kT; ++t) {
        const int16_t* q = a.q + t * a.depth + b * kQuantBlock;
        V32 dot = hn::Zero(D32()), unused = dot;
        for (int i = 0; i < kBlockVectors; ++i) {
          dot = hn::ReorderWidenMulAccumulate(D32(), block.q[i], hn::LoadU(D16(), q + i * kLanes16), dot, unused);
        }
        const VF scale = hn::Set(DF(), block.scale * a.scale[t * blocks + b]);
        sums[r][t] = hn::MulAdd(hn::ConvertTo(DF(), hn::Add(dot, unused)), scale, sums[r][t]);
      }
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int t = 0; t < kT; ++t) out[r][t] = hn::GetLane(hn::SumOfLanes(DF(), sums[r][t]));
  }
}

template <typename T, class D>
HWY_INLINE hn::Vec<D> LoadWeights(D d, const T* w) {
  if constexpr (sizeof(T) == 4) {
    return hn::LoadU(d, w);
  } else {
    return hn::PromoteTo(d, hn::LoadU(hn::Rebind<T, D>(), w));
  }
}

template <typename TW, int kRows, int kT>
void DotFloats(const uint8_t* bytes, int64_t row_size, const Activations& a, float (&out)[kRows][kT]) {
  const hn::CappedTag<float, 1> one;
  const auto weights = [&](int r) { return reinterpret_cast<const TW*>(bytes + r * row_size); };
  VF sums[kRows][kT];
  for (auto& row : sums) std::fill_n(row, kT, hn::Zero(DF()));
  int64_t k = 0;
  for (; k + kLanesF <= a.depth; k += kLanesF) {
    for (int r = 0; r < kRows; ++r) {
      const VF w = LoadWeights(DF(), weights(r) + k);
      for (int t = 0; t < kT; ++t) sums[r][t] = hn::MulAdd(w, hn::LoadU(DF(), a.x + t * a.depth + k), sums[r][t]);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int t = 0; t < kT; ++t) {
      float sum = hn::GetLane(hn::SumOfLanes(DF(), sums[r][t]));
      for (int64_t i = k; i < a.depth; ++i) sum += hn::GetLane(LoadWeights(one, weights(r) + i)) * a.x[t * a.depth + i];
      out[r][t] = sum;
    }
  }
}

template <DType kType, int kRows, int kT>
void DotRows(const uint8_t* w, int64_t row_size, const Activations& a, float (&out)[kRows][kT]) {
  if constexpr (kType == DType::kF32) {
    DotFloats<float>(w, row_size, a, out);
  } else if constexpr (kType == DType::kF16) {
    DotFloats<hwy::float16_t>(w, row_size, a, out);
  } else if constexpr (kType == DType::kBF16) {
    DotFloats<hwy::bfloat16_t>(w, row_size, a, out);
  } else {
    DotBlocks<kType>(w, row_size, a, out);
  }
}

template <DType kType, int kRows, int kT>
int64_t GemvGroups(const Activations& a, const GemvPiece& p, int64_t n, int64_t row_size) {
  for (; n + kRows <= p.end; n += kRows) {
    float sums[kRows][kT];
    DotRows<kType>(reinterpret_cast<const uint8_t*>(p.w) + n * row_size, row_size, a, sums);
    for (int r = 0; r < kRows; ++r) {
      for (int t = 0; t < kT; ++t) p.out[t * p.outputs + n + r] = sums[r][t];
    }
  }
  return n;
}

template <DType kType, int kT>
void GemvPieceOf(const Activations& a, const GemvPiece& p) {
  const int64_t row_size = row_bytes(kType, a.depth);
  constexpr int kRows = kT <= 2 ? 4 : 2;
  const int64_t n = GemvGroups<kType, kRows, kT>(a, p, p.begin, row_size);
  GemvGroups<kType, 1, kT>(a, p, n, row_size);
}

template <DType kType>
void GemvType(const Activations& a, const GemvPiece& p) {
  switch (a.rows) {
    case 1:
      return GemvPieceOf<kType, 1>(a, p);
    case 2:
      return GemvPieceOf<kType, 2>(a, p);
    case 3:
      return GemvPieceOf<kType, 3>(a, p);
    case 4:
      return GemvPieceOf<kType, 4>(a, p);
    default:
      LK_DCHECK(false && "1 to kGemvRows rows");
  }
}

void Gemv(const Activations& a, const GemvPiece& p) {
  switch (p.type) {
    case DType::kF32:
      return GemvType<DType::kF32>(a, p);
    case DType::kF16:
      return GemvType<DType::kF16>(a, p);
    case DType::kBF16:
      return GemvType<DType::kBF16>(a, p);
    case DType::kQ8_0:
      return GemvType<DType::kQ8_0>(a, p);
    case DType::kQ4_0:
      return GemvType<DType::kQ4_0>(a, p);
    case DType::kQ6_K:
      return GemvType<DType::kQ6_K>(a, p);
    default:
      LK_DCHECK(false && "no such storage of weights");
  }
}

}  // namespace lowkey::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lowkey {

HWY_EXPORT(Gemv);
HWY_EXPORT(QuantizeActivations);

void gemv(const Activations& activations, const GemvPiece& piece) noexcept {
  HWY_DYNAMIC_DISPATCH(Gemv)(activations, piece);
}

void quantize_activations(const float* x, int16_t* q, float* scale, int64_t depth) noexcept {
  HWY_DYNAMIC_DISPATCH(QuantizeActivations)(x, q, scale, depth);
}

}  // namespace lowkey
#endif
