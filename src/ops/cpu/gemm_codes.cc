// Weights of up to 6 bits as unsigned bytes times activations of 8 bits, the prompts' sibling of gemv_codes.cc. A lane
// of 32 bits holds four consecutive k of one row of x, a broadcast brings the same four of a row of w, and one
// instruction makes two int16 sums of two products: twice the products of int16 pairs.
//
// The int16 sums wrap, so only their last value must fit. Codes are taken about a centre c, that of their type: a
// half block sums 8 products of |code - c| <= 32 and |x| <= 127 in a lane, a block 16 of |code - c| <= 16, both at most
// 32512. The sums start at -c * (sum of x), which is made once for all rows of w; so no code is ever changed. From
// there on it is floats: scales of w and x, and for types with a min, less min * (sum of x).
#include <bit>
#include <cstring>

#include "ops/cpu/gemm.h"
#include "ops/cpu/gemv.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/gemm_codes.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "ops/cpu/codes-inl.h"
#include "ops/cpu/vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lowkey::HWY_NAMESPACE {
namespace {

#if HWY_MAX_BYTES < 32

const GemmKernel* kernel_codes() { return nullptr; }  // gemm_kernel takes f32

#else

constexpr int kVectors = 2, kPanel = kVectors * kLanesF;
constexpr int kGroup = 6;  // 6 x 2 sums, 2 vectors of x, weights and a product: the 16 registers of AVX2
constexpr int kChunk = kSuperBlock;

// A block of x in words of 32 bits, [kBlockWords, kPanel]: 8 runs of four columns; minus the sums of its two halves, as
// the lanes of the products have them; and floats, its scale, its sum as quantised, and those of its halves.
constexpr int kRuns = kQuantBlock / 4, kLaneSums = kRuns, kScale = kRuns + 2, kSum = kRuns + 3, kHalfSums = kRuns + 4,
              kBlockWords = kRuns + 6;

// The parts of a block with scales of their own.
template <class Q>
constexpr int kHalvesOf = Q::kSuper ? 2 : 1;
template <>
constexpr int kHalvesOf<codes::Q4K> = 1;
template <>
constexpr int kHalvesOf<codes::Q5K> = 1;

// What codes are taken about. Types with an offset need no min then; those of 5 bits with a min do not fit otherwise.
template <class Q>
constexpr int kCentreOf = Q::kOffset;
using Q51 = codes::Simple<24, 0, true>;
template <>
constexpr int kCentreOf<Q51> = 16;
template <>
constexpr int kCentreOf<codes::Q5K> = 16;

// Minus the sums of a block's halves as int16 pairs: of k % 4 < 2, and of the others.
HWY_INLINE void lane_sums(const int8_t* q, uint32_t (&out)[2]) {
  const codes::D32 d;
  const hn::Vec<codes::D16> pairs{_mm256_maddubs_epi16(hn::Set(codes::DU8(), 1).raw, hn::Load(codes::DI8(), q).raw)};
  const auto twice = hn::Add(pairs, hn::BitCast(codes::D16(), hn::Shuffle1032(hn::BitCast(d, pairs))));
  const auto sums = hn::Add(twice, hn::BitCast(codes::D16(), hn::Shuffle2301(hn::BitCast(d, twice))));
  alignas(32) uint32_t lanes[8];
  hn::Store(hn::BitCast(hn::RebindToUnsigned<codes::D32>(), hn::Neg(sums)), hn::RebindToUnsigned<codes::D32>(), lanes);
  out[0] = lanes[0], out[1] = lanes[4];
}

void pack(const float* x, int64_t depth, int64_t padded_depth, int t, void* panel, float*) noexcept {
  ByteGroup group{};
  if (depth > 0) quantize_bytes(x, &group, depth);
  auto* out = static_cast<std::byte*>(panel) + t * sizeof(uint32_t);
  for (int64_t b = 0; b < padded_depth / kQuantBlock; ++b) {
    const int8_t* q = group.q + b * kQuantBlock;
    uint32_t words[kBlockWords], sums[2];
    std::memcpy(words, q, kQuantBlock);
    lane_sums(q, sums);
    words[kScale] = std::bit_cast<uint32_t>(group.scale[b]);
    words[kSum] = std::bit_cast<uint32_t>(group.total[b]);
    for (int h = 0; h < 2; ++h) {
      words[kLaneSums + h] = sums[h];
      words[kHalfSums + h] = std::bit_cast<uint32_t>(group.scale[b] * static_cast<float>(group.sum[h][b]));
    }
    for (uint32_t word : words) {
      std::memcpy(out, &word, sizeof word);
      out += kPanel * sizeof word;
    }
  }
}

template <class Q>
HWY_INLINE void widen_group(const uint8_t* w, int64_t depth, codes::Group& out) {
  codes::unpack<Q>(w, depth, out);
  if constexpr (Q::kOffset == 0 && kCentreOf<Q> != 0) {
    for (int h = 0; h < kHalvesOf<Q>; ++h)
      for (int b = 0; b < codes::kBlocks; ++b) out.min[h][b] -= kCentreOf<Q> * out.scale[h][b];
  }
}

// A row's chunk is a codes::Group.
void widen(DType type, const std::byte* row, int64_t begin, int64_t depth, int64_t, void* out, float*) noexcept {
  auto* group = static_cast<codes::Group*>(out);
  if (depth == 0) return static_cast<void>(std::memset(out, 0, sizeof(codes::Group)));
  const auto* w = reinterpret_cast<const uint8_t*>(row) + row_bytes(type, begin);
  codes::visit(type, [&](auto of_type) HWY_ATTR { widen_group<decltype(of_type)>(w, depth, *group); });
}

#if HWY_TARGET <= HWY_AVX3

HWY_INLINE V16 products(V32 code, V32 x) { return V16{_mm512_maddubs_epi16(code.raw, x.raw)}; }
HWY_INLINE V32 pair_sums(V16 x) { return V32{_mm512_madd_epi16(x.raw, hn::Set(D16(), 1).raw)}; }

#else

HWY_INLINE V16 products(V32 code, V32 x) { return V16{_mm256_maddubs_epi16(code.raw, x.raw)}; }
HWY_INLINE V32 pair_sums(V16 x) { return V32{_mm256_madd_epi16(x.raw, hn::Set(D16(), 1).raw)}; }

#endif

// Left to itself GCC 12 loads the weights of all rows first, and spills half of the sums. Clang does not, and cannot
// read this.
HWY_INLINE void keep_order([[maybe_unused]] V16& a, [[maybe_unused]] V16& b) {
#if HWY_COMPILER_GCC_ACTUAL
  __asm__ volatile("" : "+v"(a.raw), "+v"(b.raw));
#endif
}

// Nor may it carry the sums of f32 from block to block, in copies on the stack.
HWY_INLINE void keep_in_memory() {
#if HWY_COMPILER_GCC_ACTUAL
  __asm__ volatile("" : : : "memory");
#endif
}

HWY_INLINE VF load_floats(const uint32_t* words) {
  return hn::BitCast(DF(), hn::Load(hn::RebindToUnsigned<D32>(), words));
}
HWY_INLINE V32 load_words(const uint32_t* words) {
  return hn::BitCast(D32(), hn::Load(hn::RebindToUnsigned<D32>(), words));
}

// Block b of kGroup rows of w and of a panel of x; to its sums.
struct Block {
  const codes::Group* w;  // [kGroup]
  const uint32_t* x;      // [kBlockWords, kPanel]
  int64_t b;
  float* sums;
  int64_t sums_stride;
};

// Adds half kHalf of a block, or all of it.
template <int kHalves, int kCentre, bool kMins, int kHalf>
HWY_INLINE void multiply_part(const Block& a) {
  constexpr int kPartRuns = kRuns / kHalves, kFirst = kHalf * kPartRuns;
  V16 dots[kGroup][kVectors];
  for (int v = 0; v < kVectors; ++v) {
    V16 start = hn::Zero(D16());
    if constexpr (kCentre != 0) {
      const uint32_t* sums = a.x + (kLaneSums + kHalf) * kPanel + v * kLanesF;
      start = hn::BitCast(D16(), load_words(sums));
      if constexpr (kHalves == 1) start = hn::Add(start, hn::BitCast(D16(), load_words(sums + kPanel)));
      start = hn::ShiftLeft<std::countr_zero(static_cast<unsigned>(kCentre))>(start);
    }
    for (auto& row : dots) row[v] = start;
  }
  HWY_UNROLL(8)
  for (int i = kFirst; i < kFirst + kPartRuns; ++i) {
    const V32 x0 = load_words(a.x + i * kPanel), x1 = load_words(a.x + i * kPanel + kLanesF);
    for (int r = 0; r < kGroup; ++r) {
      int32_t four;
      std::memcpy(&four, a.w[r].code + a.b * kQuantBlock + 4 * i, sizeof four);
      const V32 code = hn::Set(D32(), four);
      dots[r][0] = hn::Add(dots[r][0], products(code, x0));
      dots[r][1] = hn::Add(dots[r][1], products(code, x1));
      keep_order(dots[r][0], dots[r][1]);
    }
  }
  for (int r = 0; r < kGroup; ++r) {
    const VF scale = hn::Set(DF(), a.w[r].scale[kHalf][a.b]);
    for (int v = 0; v < kVectors; ++v) {
      const uint32_t* x = a.x + v * kLanesF;
      float* out = a.sums + r * a.sums_stride + v * kLanesF;
      VF sum = hn::Load(DF(), out);
      if constexpr (kMins) {
        const VF of_x = load_floats(x + (kHalves == 1 ? kSum : kHalfSums + kHalf) * kPanel);
        sum = hn::NegMulAdd(hn::Set(DF(), a.w[r].min[kHalf][a.b]), of_x, sum);
      }
      const VF both = hn::Mul(scale, load_floats(x + kScale * kPanel));
      hn::Store(hn::MulAdd(hn::ConvertTo(DF(), pair_sums(dots[r][v])), both, sum), DF(), out);
    }
  }
  keep_in_memory();
}

template <int kHalves, int kCentre, bool kMins>
void multiply_groups(const GemmPanel& a) {
  for (int64_t n = 0; n < a.rows; n += kGroup) {
    Block block{static_cast<const codes::Group*>(a.w) + n, static_cast<const uint32_t*>(a.x), 0,
                a.sums + n * a.sums_stride, a.sums_stride};
    for (; block.b < a.depth / kQuantBlock; ++block.b, block.x += kBlockWords * kPanel) {
      multiply_part<kHalves, kCentre, kMins, 0>(block);
      if constexpr (kHalves == 2) multiply_part<kHalves, kCentre, kMins, 1>(block);
    }
  }
}

void multiply(const GemmPanel& a) noexcept {
  codes::visit(a.type, [&](auto of_type) HWY_ATTR {
    using Q = decltype(of_type);
    multiply_groups<kHalvesOf<Q>, kCentreOf<Q>, Q::kOffset == 0>(a);
  });
}

const GemmKernel* kernel_codes() {
  static constexpr GemmKernel kKernel{.panel = kPanel,
                                      .group = kGroup,
                                      .chunk = kChunk,
                                      .panels_together = 1,
                                      .tile_rows = 1,
                                      .depth_step = kQuantBlock,
                                      .w_bytes = sizeof(codes::Group) / codes::kBlocks,
                                      .x_bytes = kBlockWords * sizeof(uint32_t),
                                      .scales = false,
                                      .pack = pack,
                                      .widen = widen,
                                      .multiply = multiply};
  return &kKernel;
}

#endif  // HWY_MAX_BYTES

}  // namespace
}  // namespace lowkey::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lowkey {

HWY_EXPORT(kernel_codes);

const GemmKernel& gemm_codes() noexcept { return *HWY_DYNAMIC_DISPATCH(kernel_codes)(); }

}  // namespace lowkey
#endif
