#include "ops/cpu/index_scan.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/index_scan.cc"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "ops/cpu/rotate-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lowkey {
namespace HWY_NAMESPACE {
namespace {

using F = hn::CappedTag<float, 16>;

// The 16 scores of a nibble into `table`. Returns their range; `least` is their minimum.
float nibble_scores(const IndexNibble& nibble, const float* u, float scale, float* table, float& least) {
  const F d;
  const int lanes = static_cast<int>(hn::Lanes(d));
  auto low = hn::Set(d, std::numeric_limits<float>::max()), high = hn::Neg(low);
  for (int e = 0; e < 16; e += lanes) {
    auto sum = hn::Zero(d);
    for (int c = 0; c < nibble.width; ++c)
      sum = hn::MulAdd(hn::LoadU(d, nibble.entries + c * 16 + e), hn::Set(d, u[c * kIndexHeads] * scale), sum);
    hn::StoreU(sum, d, table + e);
    low = hn::Min(low, sum), high = hn::Max(high, sum);
  }
  least = hn::GetLane(hn::MinOfLanes(d, low));
  return hn::GetLane(hn::MaxOfLanes(d, high)) - least;
}

// Numbers of the nibbles in the order of slots: widest, narrowest, next widest, ... Returns the step.
float pair_up(const float* ranges, int nibbles, std::array<uint16_t, kMaxIndexNibbles>& order) {
  std::array<uint16_t, kMaxIndexNibbles> sorted;
  std::iota(sorted.begin(), sorted.begin() + nibbles, uint16_t{0});
  std::sort(sorted.begin(), sorted.begin() + nibbles, [&](int a, int b) { return ranges[a] > ranges[b]; });
  float widest = 0;
  for (int i = 0; 2 * i < nibbles; ++i) {
    const uint16_t wide = sorted[i], narrow = sorted[nibbles - 1 - i];
    order[2 * i] = wide;
    if (wide != narrow) order[2 * i + 1] = narrow;
    widest = std::max(widest, ranges[wide] + (wide != narrow ? ranges[narrow] : 0.f));
  }
  constexpr float kSteps = 254;  // each entry of a pair may be rounded up by half a step
  return std::max(widest / kSteps, 1e-20f);
}

// table: [16] scores, the least of them `least`. Returns the largest entry.
int quantise(const float* table, float least, float step, uint8_t* entries) {
  const F d;
  const hn::Rebind<uint8_t, F> du;
  const int lanes = static_cast<int>(hn::Lanes(d));
  const float inverse = 1.f / step;
  for (int e = 0; e < 16; e += lanes) {
    const auto steps = hn::Mul(hn::Sub(hn::LoadU(d, table + e), hn::Set(d, least)), hn::Set(d, inverse));
    hn::StoreU(hn::DemoteTo(du, hn::NearestInt(steps)), du, entries + e);
  }
  return *std::max_element(entries, entries + 16);
}

void build_tables(const IndexHead& head, const float* q, float scale, float* work, IndexTables& t) {
  const int nibbles = static_cast<int>(head.nibbles.size());
  const int64_t dim = head.query_rotation.dim(1);
  const float* x[kIndexHeads];
  for (int h = 0; h < kIndexHeads; ++h) x[h] = q + std::min(h, t.heads - 1) * dim;
  float *u = work, *scores = work + kIndexHeads * (head.query_rotation.dim(0) + 1);  // [R, 4], [nibbles, heads, 16]
  rotate_4(head.query_rotation, x, u);

  std::array<float, kMaxIndexNibbles> ranges;  // the widest of the heads
  std::array<std::array<float, kIndexHeads>, kMaxIndexNibbles> least;
  for (int n = 0; n < nibbles; ++n) {
    const IndexNibble& nibble = head.nibbles[static_cast<size_t>(n)];
    ranges[n] = 0;
    for (int h = 0; h < t.heads; ++h)
      ranges[n] = std::max(ranges[n], nibble_scores(nibble, u + nibble.begin * kIndexHeads + h, scale,
                                                    scores + (n * t.heads + h) * 16, least[n][h]));
  }
  std::array<uint16_t, kMaxIndexNibbles> order;
  t.step = pair_up(ranges.data(), nibbles, order);
  t.slots = (nibbles + 1) / 2 * 2;
  for (int h = 0; h < t.heads; ++h) t.bias[h] = 0, t.top[h] = 0;
  for (int s = 0; s < nibbles; ++s) {
    const int n = order[s];
    t.offsets[s] = n * kIndexTileTokens / 2;
    for (int h = 0; h < t.heads; ++h) {
      t.bias[h] += least[n][h];
      t.top[h] += quantise(scores + (n * t.heads + h) * 16, least[n][h], t.step, t.entries + (s * t.heads + h) * 16);
    }
  }
  if (nibbles == t.slots) return;
  t.offsets[nibbles] = 0;  // half a pair: any nibble, with a table of nothing
  std::fill_n(t.entries + nibbles * t.heads * 16, t.heads * 16, uint8_t{0});
}

#if HWY_TARGET == HWY_SCALAR

template <int kHeads>
void scan_tile(const IndexTables& t, const std::byte* tile, uint16_t* sums, int64_t stride) {
  for (int h = 0; h < kHeads; ++h) std::fill_n(sums + h * stride, kIndexTileTokens, uint16_t{0});
  for (int s = 0; s < t.slots; ++s) {
    const auto* codes = reinterpret_cast<const uint8_t*>(tile + t.offsets[s]);
    for (int h = 0; h < kHeads; ++h) {
      const uint8_t* entries = t.entries + (s * kHeads + h) * 16;
      uint16_t* out = sums + h * stride;
      for (int i = 0; i < 32; ++i) {
        out[i] = static_cast<uint16_t>(out[i] + entries[codes[i] & 15]);
        out[i + 32] = static_cast<uint16_t>(out[i + 32] + entries[codes[i] >> 4]);
      }
    }
  }
}

#else

using B = hn::ScalableTag<uint8_t>;
using W = hn::Repartition<uint16_t, B>;
constexpr int kLanes = static_cast<int>(hn::MaxLanes(B()));  // tokens at a time: all of a tile, or a half
static_assert(kLanes == 32 || kLanes == 64);

// The codes of kLanes tokens, one a byte: those of the low or of the high halves of 32 bytes, or both.
template <bool kHigh>
HWY_INLINE hn::Vec<B> load_codes(const std::byte* nibble) {
  const auto low_half = hn::Set(B(), 15);
  const auto* bytes = reinterpret_cast<const uint8_t*>(nibble);
  if constexpr (kLanes == 64) {
    const hn::Half<B> half;
    const auto codes = hn::LoadU(half, bytes);
    const auto shifts = hn::Combine(W(), hn::Set(hn::Half<W>(), 4), hn::Zero(hn::Half<W>()));
    return hn::And(hn::BitCast(B(), hn::Shr(hn::BitCast(W(), hn::Combine(B(), codes, codes)), shifts)), low_half);
  } else {
    const auto codes = hn::LoadU(B(), bytes);
    if constexpr (!kHigh) return hn::And(codes, low_half);
    return hn::And(hn::BitCast(B(), hn::ShiftRight<4>(hn::BitCast(W(), codes))), low_half);
  }
}

// Sums are kept in 16 bits, twice: of the bytes of odd tokens alone, and of pairs of bytes as they lie, from which the
// former is taken in the end (as in FAISS' fast scan): one shift less for each addition.
template <int kHeads, bool kHigh>
HWY_INLINE void scan_half(const IndexTables& t, const std::byte* tile, uint16_t* sums, int64_t stride) {
  const B d;
  const W dw;
  hn::Vec<W> both[kHeads], odd[kHeads];
  for (int h = 0; h < kHeads; ++h) both[h] = odd[h] = hn::Zero(dw);
  const uint8_t* entries = t.entries;
  for (int s = 0; s < t.slots; s += 2, entries += 2 * kHeads * 16) {
    const auto first = load_codes<kHigh>(tile + t.offsets[s]);
    const auto second = load_codes<kHigh>(tile + t.offsets[s + 1]);
    for (int h = 0; h < kHeads; ++h) {
      const auto pair = hn::Add(hn::TableLookupBytes(hn::LoadDup128(d, entries + h * 16), first),
                                hn::TableLookupBytes(hn::LoadDup128(d, entries + (kHeads + h) * 16), second));
      both[h] = hn::Add(both[h], hn::BitCast(dw, pair));
      odd[h] = hn::Add(odd[h], hn::ShiftRight<8>(hn::BitCast(dw, pair)));
    }
  }
  for (int h = 0; h < kHeads; ++h) {
    const auto even = hn::Sub(both[h], hn::ShiftLeft<8>(odd[h]));
    hn::StoreInterleaved2(even, odd[h], dw, sums + h * stride);
  }
}

template <int kHeads>
void scan_tile(const IndexTables& t, const std::byte* tile, uint16_t* sums, int64_t stride) {
  scan_half<kHeads, false>(t, tile, sums, stride);
  if constexpr (kLanes == 32) scan_half<kHeads, true>(t, tile, sums + 32, stride);
}

#endif

float sum_exponentials(const uint16_t* sums, int64_t count, float step, int32_t top) {
  const hn::ScalableTag<float> d;
  const hn::Rebind<int32_t, decltype(d)> di;
  const hn::Rebind<uint16_t, decltype(d)> dw;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  constexpr float kOne = 0x1p23f;          // of the exponent, in the bits of a float
  constexpr float kMeanExcess = 0.05730f;  // of log2(1 + f) over f, for f from 0 to 1
  const float slope = step * kOne;
  const float start = (127 + kIndexHeadroom - kMeanExcess - static_cast<float>(top) * step) * kOne;
  auto total = hn::Zero(d);
  int64_t t = 0;
  for (; t + lanes <= count; t += lanes) {
    const auto sum = hn::ConvertTo(d, hn::PromoteTo(di, hn::LoadU(dw, sums + t)));
    const auto bits = hn::Max(hn::MulAdd(sum, hn::Set(d, slope), hn::Set(d, start)), hn::Zero(d));
    total = hn::Add(total, hn::BitCast(d, hn::ConvertTo(di, bits)));
  }
  float result = hn::GetLane(hn::SumOfLanes(d, total));
  for (; t < count; ++t)
    result += std::bit_cast<float>(static_cast<int32_t>(std::max(0.f, static_cast<float>(sums[t]) * slope + start)));
  return result;
}

template <int kHeads>
void scan(const IndexScan& s) {
  constexpr int64_t kBlock = 4 * kIndexTileTokens;  // tokens whose sums are added up while they are near
  constexpr int64_t kAhead = 4096;                  // bytes of codes asked for before they are needed
  const IndexTables& t = *s.tables;
  const KvPages& kv = *s.kv;
  const int64_t page_bytes = kv.planes[static_cast<size_t>(s.plane)].page_bytes;
  const int64_t bytes = page_bytes * kIndexTileTokens / kv.page_tokens,
                tiles_ahead = std::max<int64_t>(1, kAhead / bytes);
  const auto tile = [&](int64_t at) {
    return kv.plane_page(s.plane, s.head, at / kv.page_tokens) + at % kv.page_tokens / kIndexTileTokens * bytes;
  };
  std::fill_n(s.total, kHeads, 0.f);
  for (int64_t block = s.begin; block < s.end; block += kBlock) {
    const int64_t end = std::min(block + kBlock, s.end);
    for (int64_t at = block; at < end; at += kIndexTileTokens) {
      if (const int64_t next = at + tiles_ahead * kIndexTileTokens; next < s.end) {
        const std::byte* ahead = tile(next);
        for (int64_t i = 0; i < bytes; i += 64) hwy::Prefetch(ahead + i);
      }
      scan_tile<kHeads>(t, tile(at), s.sums + at - s.begin, s.stride);
    }
    for (int h = 0; h < kHeads; ++h)
      s.total[h] += sum_exponentials(s.sums + h * s.stride + block - s.begin, end - block, t.step, t.top[h]);
  }
}

void scan_index(const IndexScan& s) {
  switch (s.tables->heads) {
    case 1:
      return scan<1>(s);
    case 2:
      return scan<2>(s);
    case 3:
      return scan<3>(s);
    default:
      return scan<4>(s);
  }
}

void index_keys(const IndexKeys& k) {
  const hn::ScalableTag<float> d;
  const hn::Rebind<int32_t, decltype(d)> di;
  const hn::Rebind<uint16_t, decltype(d)> dw;
  constexpr int kUnroll = 4;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t t = 0;
  for (; t + kUnroll * lanes <= k.count; t += kUnroll * lanes) {
    hn::Vec<decltype(d)> best[kUnroll];
    for (auto& b : best) b = hn::Set(d, -std::numeric_limits<float>::infinity());
    for (int h = 0; h < k.heads; ++h) {
      const auto step = hn::Set(d, k.step[h]), offset = hn::Set(d, k.offset[h]);
      for (int i = 0; i < kUnroll; ++i) {
        const auto sum = hn::ConvertTo(d, hn::PromoteTo(di, hn::LoadU(dw, k.sums + h * k.stride + t + i * lanes)));
        best[i] = hn::Max(best[i], hn::MulAdd(sum, step, offset));
      }
    }
    for (int i = 0; i < kUnroll; ++i) hn::StoreU(best[i], d, k.keys + t + i * lanes);
  }
  for (; t < k.count; ++t) {
    k.keys[t] = -std::numeric_limits<float>::infinity();
    for (int h = 0; h < k.heads; ++h)
      k.keys[t] = std::max(k.keys[t], std::fma(static_cast<float>(k.sums[h * k.stride + t]), k.step[h], k.offset[h]));
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lowkey
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lowkey {

HWY_EXPORT(build_tables);
HWY_EXPORT(scan_index);
HWY_EXPORT(sum_exponentials);
HWY_EXPORT(index_keys);

void build_tables(const IndexHead& head, const float* q, float scale, float* work, IndexTables& t) noexcept {
  HWY_DYNAMIC_DISPATCH(build_tables)(head, q, scale, work, t);
}
void scan_index(const IndexScan& s) noexcept { HWY_DYNAMIC_DISPATCH(scan_index)(s); }
float sum_exponentials(const uint16_t* sums, int64_t count, float step, int32_t top) noexcept {
  return HWY_DYNAMIC_DISPATCH(sum_exponentials)(sums, count, step, top);
}
void index_keys(const IndexKeys& k) noexcept { HWY_DYNAMIC_DISPATCH(index_keys)(k); }

}  // namespace lowkey
#endif
