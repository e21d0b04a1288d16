// Weights of up to 6 bits as unsigned bytes times activations of 8 bits, the prompts' sibling of gemv_codes.cc. A lane
// of 32 bits holds four k of one row of x, a broadcast brings the same four of a row of w, and one instruction makes
// two int16 sums of two products: twice the products of int16 pairs.
//
// The four are two neighbours of each half of a block, so that the two int16 of a lane are sums of a half each, and one
// multiply-add brings both to their scales: those are whole numbers of 16 bits, times a float of the row and chunk. So
// a block becomes a float once, where it meets the scale of x.
//
// The int16 sums wrap, so only their last value must fit. Codes are taken about a centre c, that of their type: a half
// is 16 products of |code - c| <= 16 and |x| <= 127, at most 32512, or of |code - c| <= 32 with the sum of |x| at most
// kHalfMax. The sums start at -c * (sum of x), which is made once for all rows of w; so no code is ever changed. For
// types with a min, less min * (sum of x) at the end of a chunk.
#include <algorithm>
#include <bit>
#include <cstring>

#include "ops/cpu/gemm.h"
#include "ops/cpu/gemv.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/gemm_codes.cc"
#include <hwy/cache_control.h>
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
constexpr int kLine = 16;  // words of 32 bits

// A block of x in words of 32 bits, [kBlockWords, kPanel]: 8 runs of four columns; minus the sum of the runs, as the
// lanes of the products have it; and floats, its scale, its sum as quantised and that of its first half.
constexpr int kRuns = kQuantBlock / 4, kLaneSum = kRuns, kScale = kRuns + 1, kSums = kRuns + 2, kBlockWords = kRuns + 4;

// A row's chunk as multiplied: x = unit * scale * (code - offset), less the min where the type has one; of halves 0
// and 1 of each block.
struct Row {
  alignas(32) uint8_t code[kSuperBlock];  // in each block two of the first half, two of the other, and so on
  int16_t scale[codes::kBlocks][2];
  float min[2][codes::kBlocks];
  float unit;
};

// Mins of a block.
template <class Q>
constexpr int kMinsOf = Q::kOffset != 0 ? 0 : 1;
template <>
constexpr int kMinsOf<codes::Q2K> = 2;

// What codes are taken about. Types with an offset need no min then; those of 5 bits with a min do not fit otherwise.
template <class Q>
constexpr int kCentreOf = Q::kOffset;
using Q51 = codes::Simple<24, 0, true>;
template <>
constexpr int kCentreOf<Q51> = 16;
template <>
constexpr int kCentreOf<codes::Q5K> = 16;

// Lanes of 16 bits, of the lower half and the upper one in turn.
template <class D>
HWY_INLINE hn::Vec<D> halves_in_turn(D d, hn::Vec<D> v) {
  const hn::Half<D> half;
  const auto first = hn::LowerHalf(half, v), others = hn::UpperHalf(half, v);
  return hn::Combine(d, hn::InterleaveUpper(half, first, others), hn::InterleaveLower(half, first, others));
}

// Bytes of a block in the order of Row::code.
HWY_INLINE codes::VU8 interleaved(codes::VU8 block) {
  const hn::FixedTag<uint16_t, 16> d;
  return hn::BitCast(codes::DU8(), halves_in_turn(d, hn::BitCast(d, block)));
}

// Minus the sum of all words, as int16 pairs: of bytes k % 4 < 2 and of the others.
HWY_INLINE uint32_t lane_sum(codes::VU8 q) {
  const codes::D32 d;
  const codes::D16 d16;
  const codes::V16 pairs{_mm256_maddubs_epi16(hn::Set(codes::DU8(), 1).raw, q.raw)};
  const auto twice = hn::Add(pairs, hn::BitCast(d16, hn::Shuffle1032(hn::BitCast(d, pairs))));
  const auto four = hn::Add(twice, hn::BitCast(d16, hn::Shuffle2301(hn::BitCast(d, twice))));
  const auto all = hn::Neg(hn::Add(four, hn::ConcatLowerUpper(d16, four, four)));
  return hn::GetLane(hn::BitCast(hn::RebindToUnsigned<codes::D32>(), all));
}

void pack(const float* x, int64_t depth, int64_t padded_depth, int t, void* panel, float*) noexcept {
  ByteGroup group{};
  if (depth > 0) quantize_bytes(x, &group, depth);
  auto* out = static_cast<std::byte*>(panel) + t * sizeof(uint32_t);
  for (int64_t b = 0; b < padded_depth / kQuantBlock; ++b) {
    alignas(32) uint32_t words[kBlockWords];
    const auto* q = reinterpret_cast<const uint8_t*>(group.q) + b * kQuantBlock;
    const codes::VU8 runs = interleaved(hn::Load(codes::DU8(), q));
    hn::Store(runs, codes::DU8(), reinterpret_cast<uint8_t*>(words));
    words[kLaneSum] = lane_sum(runs);
    words[kScale] = std::bit_cast<uint32_t>(group.scale[b]);
    words[kSums] = std::bit_cast<uint32_t>(group.total[b]);
    words[kSums + 1] = std::bit_cast<uint32_t>(group.scale[b] * static_cast<float>(group.sum[0][b]));
    for (uint32_t word : words) {
      std::memcpy(out, &word, sizeof word);
      out += kPanel * sizeof word;
    }
  }
}

// Scales that are floats, one of each block, as whole numbers of 15 bits.
HWY_INLINE codes::V16 whole_scales(codes::VF scale, float& unit) {
  constexpr float kMost = 32767;
  const codes::DF d;
  const float peak = hn::GetLane(hn::MaxOfLanes(d, hn::Abs(scale)));
  unit = peak / kMost;
  const auto whole = hn::NearestInt(hn::Mul(scale, hn::Set(d, unit > 0 ? 1 / unit : 0)));
  const auto lanes = hn::DemoteTo(hn::Half<codes::D16>(), whole);
  return hn::Combine(codes::D16(), lanes, lanes);
}

template <class Q>
HWY_INLINE void widen_group(const uint8_t* w, Row& out) {
  codes::V16 scale;
  if constexpr (Q::kSuper) {
    const codes::Factors f = Q::factors(w);
    scale = f.scale;
    out.unit = hn::GetLane(f.d);
    if constexpr (Q::kOffset == 0) codes::store_lanes(f.min, f.m, out.min);
  } else {
    scale = whole_scales(Q::scales(w), out.unit);
    if constexpr (Q::kOffset == 0) hn::Store(Q::mins(w), codes::DF(), out.min[0]);
  }
  hn::Store(halves_in_turn(codes::D16(), scale), codes::D16(), out.scale[0]);
  codes::each_block<Q>(w, [&](int b, codes::VU8 code)
                              HWY_ATTR { hn::Store(interleaved(code), codes::DU8(), out.code + b * kQuantBlock); });
  if constexpr (kMinsOf<Q> == 1 && kCentreOf<Q> != 0)
    for (int b = 0; b < codes::kBlocks; ++b) out.min[0][b] -= kCentreOf<Q> * out.unit * out.scale[b][0];
}

void widen(DType type, const std::byte* row, int64_t begin, int64_t depth, int64_t, void* out, float*) noexcept {
  auto* to = static_cast<Row*>(out);
  if (depth == 0) return static_cast<void>(std::memset(out, 0, sizeof(Row)));
  const auto* w = reinterpret_cast<const uint8_t*>(row) + row_bytes(type, begin);
  codes::visit(type, [&](auto of_type) HWY_ATTR {
    using Q = decltype(of_type);
    if constexpr (!Q::kSuper)
      if (depth < kSuperBlock) return widen_group<Q>(codes::Padded<Q>(w, depth).bytes, *to);
    widen_group<Q>(w, *to);
  });
}

#if HWY_TARGET <= HWY_AVX3

HWY_INLINE V16 products(V32 code, V32 x) { return V16{_mm512_maddubs_epi16(code.raw, x.raw)}; }
HWY_INLINE V32 pair_sums(V16 a, V16 b) { return V32{_mm512_madd_epi16(a.raw, b.raw)}; }

#else

HWY_INLINE V16 products(V32 code, V32 x) { return V16{_mm256_maddubs_epi16(code.raw, x.raw)}; }
HWY_INLINE V32 pair_sums(V16 a, V16 b) { return V32{_mm256_madd_epi16(a.raw, b.raw)}; }

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

// The same word of memory in all lanes.
HWY_INLINE V32 broadcast(const void* p) {
  int32_t word;
  std::memcpy(&word, p, sizeof word);
  return hn::Set(D32(), word);
}

// Products of block b, int16 pairs of its halves; w: a group of rows, x: the block.
template <int kCentre>
HWY_INLINE void multiply_block(const Row* w, const uint32_t* x, int64_t b, V16 (&dots)[kGroup][kVectors]) {
  for (int v = 0; v < kVectors; ++v) {
    V16 start = hn::Zero(D16());
    if constexpr (kCentre != 0) {
      start = hn::BitCast(D16(), load_words(x + kLaneSum * kPanel + v * kLanesF));
      start = hn::ShiftLeft<std::countr_zero(static_cast<unsigned>(kCentre))>(start);
    }
    for (auto& row : dots) row[v] = start;
  }
  HWY_UNROLL(8)
  for (int i = 0; i < kRuns; ++i) {
    const V32 x0 = load_words(x + i * kPanel), x1 = load_words(x + i * kPanel + kLanesF);
    for (int r = 0; r < kGroup; ++r) {
      const V32 code = broadcast(w[r].code + b * kQuantBlock + 4 * i);
      V16 p0 = products(code, x0), p1 = products(code, x1);
      keep_order(p0, p1);
      dots[r][0] = hn::Add(dots[r][0], p0);
      dots[r][1] = hn::Add(dots[r][1], p1);
      keep_order(dots[r][0], dots[r][1]);
    }
  }
}

// Adds block b to sums in units of the rows.
template <int kCentre>
HWY_INLINE void add_block(const Row* w, const uint32_t* x, int64_t b, float (*sums)[kPanel]) {
  V16 dots[kGroup][kVectors];
  multiply_block<kCentre>(w, x, b, dots);
  for (int r = 0; r < kGroup; ++r) {
    const V16 scale = hn::BitCast(D16(), broadcast(w[r].scale[b]));
    for (int v = 0; v < kVectors; ++v) {
      float* sum = sums[r] + v * kLanesF;
      const VF of_x = load_floats(x + kScale * kPanel + v * kLanesF);
      const VF block = hn::ConvertTo(DF(), pair_sums(dots[r][v], scale));
      hn::Store(hn::MulAdd(block, of_x, hn::Load(DF(), sum)), DF(), sum);
    }
  }
  keep_in_memory();
}

// Adds unit * sums, less min * (sum of x), to a group's rows of out.
template <int kMins>
HWY_INLINE void add_sums(const Row* w, const uint32_t* x, int64_t blocks, const float (*sums)[kPanel], float* out,
                         int64_t stride) {
  VF total[kGroup][kVectors];
  for (int r = 0; r < kGroup; ++r) {
    for (int v = 0; v < kVectors; ++v) {
      const VF sum = hn::Load(DF(), sums[r] + v * kLanesF);
      total[r][v] = hn::MulAdd(hn::Set(DF(), w[r].unit), sum, hn::Load(DF(), out + r * stride + v * kLanesF));
    }
  }
  for (int64_t b = 0; b < blocks; ++b) {
    for (int h = 0; h < kMins; ++h) {
      VF of_x[kVectors];
      for (int v = 0; v < kVectors; ++v) {
        const uint32_t* at = x + (b * kBlockWords + kSums) * kPanel + v * kLanesF;
        of_x[v] = load_floats(at);
        if constexpr (kMins == 2) {
          const VF first = load_floats(at + kPanel);
          of_x[v] = h == 0 ? first : hn::Sub(of_x[v], first);
        }
      }
      for (int r = 0; r < kGroup; ++r) {
        const VF min = hn::Set(DF(), w[r].min[h][b]);
        for (int v = 0; v < kVectors; ++v) total[r][v] = hn::NegMulAdd(min, of_x[v], total[r][v]);
      }
    }
  }
  for (int r = 0; r < kGroup; ++r)
    for (int v = 0; v < kVectors; ++v) hn::Store(total[r][v], DF(), out + r * stride + v * kLanesF);
}

// Asks for what a group adds to, a line of each row, which no prefetcher of the hardware sees coming.
HWY_INLINE void prefetch_sums(const float* sums, int64_t stride) {
  for (int r = 0; r < kGroup; ++r)
    for (int v = 0; v < kPanel; v += kLine) hwy::Prefetch(sums + r * stride + v);
}

// And for a part of the next panel: it is in L1 by the time it begins.
HWY_INLINE void prefetch_group(const uint32_t* panel, int64_t n) {
  constexpr int64_t kLines = 2;  // for each row of w: with a slab of 96 all of the 192 of AVX-512
  for (int64_t i = n * kLines; i < (n + kGroup) * kLines; ++i) hwy::Prefetch(panel + i * kLine);
}

template <class Q>
void multiply_groups(const GemmPanel& a) {
  const auto* x = static_cast<const uint32_t*>(a.x);
  const int64_t blocks = a.depth / kQuantBlock;
  for (int64_t n = 0; n < a.rows; n += kGroup) {
    const Row* w = static_cast<const Row*>(a.w) + n;
    alignas(64) float sums[kGroup][kPanel] = {};
    prefetch_sums(a.sums + n * a.sums_stride, a.sums_stride);
    prefetch_group(x + blocks * kBlockWords * kPanel, n);
    for (int64_t b = 0; b < blocks; ++b) add_block<kCentreOf<Q> >(w, x + b * kBlockWords * kPanel, b, sums);
    add_sums<kMinsOf<Q> >(w, x, blocks, sums, a.sums + n * a.sums_stride, a.sums_stride);
  }
}

void multiply(const GemmPanel& a) noexcept {
  codes::visit(a.type, [&](auto of_type) HWY_ATTR { multiply_groups<decltype(of_type)>(a); });
}

const GemmKernel* kernel_codes() {
  static constexpr GemmKernel kKernel{.panel = kPanel,
                                      .group = kGroup,
                                      .chunk = kChunk,
                                      .panels_together = 1,
                                      .tile_rows = 1,
                                      .depth_step = kQuantBlock,
                                      .w_bytes = sizeof(Row) / codes::kBlocks,
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
