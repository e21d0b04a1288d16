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
namespace {

// Bytes ahead of the reader that are asked for: enough to hide the latency of DRAM and to reach past the end of the
// page, where the hardware's prefetchers stop. Rows side by side need more, or what is asked for is what the next of
// them reads at that moment: from DRAM with 2 threads of a Xeon 16384 give 22.8 GB/s, 8192 21.0.
constexpr int64_t kPrefetchBytes = HWY_TARGET <= HWY_AVX3 ? 16384 : 8192;

// Rows of kQ8_0 read side by side, each with its own prefetch. Measured from DRAM with 2 threads: with vectors of 64
// bytes 4 rows are 10 % faster than 1 (a Xeon), with 32 bytes 1 is 9 % faster than 2 (Zen 3). Float rows need no
// prefetch, but four, for the latency of their additions.
constexpr int kQ8Rows = HWY_TARGET <= HWY_AVX3 ? 4 : 1;

// Adds the products of block b with kT rows of x; scale[t * stride]: that of the weights times that of row t.
template <int kT>
HWY_INLINE void add_block(const Block& block, const Activations& a, int64_t b, const float* scale, int stride,
                          VF (&sums)[kT]) {
  for (int t = 0; t < kT; ++t) {
    const int16_t* q = a.words + t * a.depth + b * kQuantBlock;
    V32 dot = hn::Zero(D32()), unused = dot;
    for (int i = 0; i < kBlockVectors; ++i) {
      dot = hn::ReorderWidenMulAccumulate(D32(), block.q[i], hn::LoadU(D16(), q + i * kLanes16), dot, unused);
    }
    sums[t] = hn::MulAdd(hn::ConvertTo(DF(), hn::Add(dot, unused)), hn::Set(DF(), scale[t * stride]), sums[t]);
  }
}

#if HWY_TARGET <= HWY_AVX3

// Whole runs of kLanesF blocks, their scales multiplied a vector at a time; returns the first block left.
template <int kRows, int kT>
HWY_INLINE int64_t add_runs(const uint8_t* w, int64_t row_size, const Activations& a, VF (&sums)[kRows][kT]) {
  const int64_t blocks = a.depth / kQuantBlock;
  HWY_ALIGN float scales[kRows][kT][kLanesF];
  int64_t b = 0;
  for (; b + kLanesF <= blocks; b += kLanesF) {
    for (int r = 0; r < kRows; ++r) {
      const VF of_weights = load_scales(w + r * row_size, b);
      for (int t = 0; t < kT; ++t) {
        hn::Store(hn::Mul(of_weights, hn::LoadU(DF(), a.word_scale + t * blocks + b)), DF(), scales[r][t]);
      }
    }
    for (int i = 0; i < kLanesF; ++i) {
      for (int r = 0; r < kRows; ++r) {
        const uint8_t* row = w + r * row_size;
        hwy::Prefetch(row + (b + i) * kQ8Bytes + kPrefetchBytes);
        add_block<kT>(load_block(row, b + i), a, b + i, scales[r][0] + i, kLanesF, sums[r]);
      }
    }
  }
  return b;
}

#endif  // HWY_TARGET <= HWY_AVX3

// Sums over K of kRows rows of w with kT rows of x.
template <int kRows, int kT>
void dot_blocks(const uint8_t* w, int64_t row_size, const Activations& a, float (&out)[kRows][kT]) {
  const int64_t blocks = a.depth / kQuantBlock;
  VF sums[kRows][kT];
  for (auto& row : sums) std::fill_n(row, kT, hn::Zero(DF()));
  int64_t b = 0;
#if HWY_TARGET <= HWY_AVX3
  b = add_runs<kRows, kT>(w, row_size, a, sums);
#endif
  for (; b < blocks; ++b) {
    for (int r = 0; r < kRows; ++r) {
      const Block block = load_block(w + r * row_size, b);
      hwy::Prefetch(w + r * row_size + b * kQ8Bytes + kPrefetchBytes);
      float scale[kT];
      for (int t = 0; t < kT; ++t) scale[t] = block.scale * a.word_scale[t * blocks + b];
      add_block<kT>(block, a, b, scale, 1, sums[r]);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int t = 0; t < kT; ++t) out[r][t] = hn::GetLane(hn::SumOfLanes(DF(), sums[r][t]));
  }
}

template <typename T, class D>
HWY_INLINE hn::Vec<D> load_weights(D d, const T* w) {
  if constexpr (sizeof(T) == 4) {
    return hn::LoadU(d, w);
  } else {
    return hn::PromoteTo(d, hn::LoadU(hn::Rebind<T, D>(), w));
  }
}

template <typename TW, int kRows, int kT>
void dot_floats(const uint8_t* bytes, int64_t row_size, const Activations& a, float (&out)[kRows][kT]) {
  const hn::CappedTag<float, 1> one;
  const auto weights = [&](int r) { return reinterpret_cast<const TW*>(bytes + r * row_size); };
  VF sums[kRows][kT];
  for (auto& row : sums) std::fill_n(row, kT, hn::Zero(DF()));
  int64_t k = 0;
  for (; k + kLanesF <= a.depth; k += kLanesF) {
    for (int r = 0; r < kRows; ++r) {
      const VF w = load_weights(DF(), weights(r) + k);
      for (int t = 0; t < kT; ++t) sums[r][t] = hn::MulAdd(w, hn::LoadU(DF(), a.x + t * a.depth + k), sums[r][t]);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int t = 0; t < kT; ++t) {
      float sum = hn::GetLane(hn::SumOfLanes(DF(), sums[r][t]));
      for (int64_t i = k; i < a.depth; ++i)
        sum += hn::GetLane(load_weights(one, weights(r) + i)) * a.x[t * a.depth + i];
      out[r][t] = sum;
    }
  }
}

template <DType kType, int kRows, int kT>
void dot_rows(const uint8_t* w, int64_t row_size, const Activations& a, float (&out)[kRows][kT]) {
  if constexpr (kType == DType::kF32) {
    dot_floats<float>(w, row_size, a, out);
  } else if constexpr (kType == DType::kF16) {
    dot_floats<hwy::float16_t>(w, row_size, a, out);
  } else if constexpr (kType == DType::kBF16) {
    dot_floats<hwy::bfloat16_t>(w, row_size, a, out);
  } else {
    dot_blocks(w, row_size, a, out);
  }
}

template <DType kType, int kRows, int kT>
int64_t gemv_groups(const Activations& a, const GemvPiece& p, int64_t n, int64_t row_size) {
  for (; n + kRows <= p.end; n += kRows) {
    float sums[kRows][kT];
    dot_rows<kType>(reinterpret_cast<const uint8_t*>(p.w) + n * row_size, row_size, a, sums);
    for (int r = 0; r < kRows; ++r) {
      for (int t = 0; t < kT; ++t) p.out[t * p.outputs + n + r] = sums[r][t];
    }
  }
  return n;
}

template <DType kType, int kT>
void gemv_rows(const Activations& a, const GemvPiece& p) {
  const int64_t row_size = row_bytes(kType, a.depth);
  constexpr int kRows = kT > 2 ? 2 : takes_words(kType) ? kQ8Rows : 4;
  const int64_t n = gemv_groups<kType, kRows, kT>(a, p, p.begin, row_size);
  gemv_groups<kType, 1, kT>(a, p, n, row_size);
}

template <DType kType>
void gemv_type(const Activations& a, const GemvPiece& p) {
  switch (a.rows) {
    case 1:
      return gemv_rows<kType, 1>(a, p);
    case 2:
      return gemv_rows<kType, 2>(a, p);
    case 3:
      return gemv_rows<kType, 3>(a, p);
    case 4:
      return gemv_rows<kType, 4>(a, p);
    default:
      LK_DCHECK(false && "1 to kGemvRows rows");
  }
}

void gemv_any(const Activations& a, const GemvPiece& p) {
  switch (p.type) {
    case DType::kF32:
      return gemv_type<DType::kF32>(a, p);
    case DType::kF16:
      return gemv_type<DType::kF16>(a, p);
    case DType::kBF16:
      return gemv_type<DType::kBF16>(a, p);
    case DType::kQ8_0:
      return gemv_type<DType::kQ8_0>(a, p);
    default:
      LK_DCHECK(false && "no such storage of weights");
  }
}

}  // namespace
}  // namespace lowkey::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lowkey {

HWY_EXPORT(gemv_any);

void gemv(const Activations& activations, const GemvPiece& piece) noexcept {
  if (takes_bytes(piece.type)) return gemv_codes(activations, piece);
  HWY_DYNAMIC_DISPATCH(gemv_any)(activations, piece);
}

}  // namespace lowkey
#endif
