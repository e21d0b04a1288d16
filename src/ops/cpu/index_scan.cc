// A vector of codes is looked up in a table by one byte shuffle. What the scan then costs is adding up: entries of a
// bundle are added in 8 bits (saturating, so that the compiler leaves their order alone and all sums in registers),
// whole bundles in 16.
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
constexpr int kTogether = 4;  // query heads, of rotate_4

// The 16 scores of a nibble, less the least of them, into `table`. Returns the largest.
float nibble_scores(const IndexNibble& nibble, const float* u, float scale, float* table) {
  const F d;
  const int lanes = static_cast<int>(hn::Lanes(d));
  auto low = hn::Set(d, std::numeric_limits<float>::max()), high = hn::Neg(low);
  for (int e = 0; e < 16; e += lanes) {
    auto sum = hn::Zero(d);
    for (int c = 0; c < nibble.width; ++c)
      sum = hn::MulAdd(hn::LoadU(d, nibble.entries + c * 16 + e), hn::Set(d, u[c * kTogether] * scale), sum);
    hn::StoreU(sum, d, table + e);
    low = hn::Min(low, sum), high = hn::Max(high, sum);
  }
  low = hn::MinOfLanes(d, low);
  for (int e = 0; e < 16; e += lanes) hn::StoreU(hn::Sub(hn::LoadU(d, table + e), low), d, table + e);
  return hn::GetLane(hn::Sub(hn::MaxOfLanes(d, high), low));
}

using Order = std::array<uint16_t, kMaxIndexNibbles + kIndexBundle>;
constexpr uint16_t kNone = kMaxIndexNibbles;

// Which nibble, or none, each slot takes: sorted by range, they are dealt to the bundles to and fro. Returns the step.
float fill_bundles(const float* ranges, int nibbles, Order& order) {
  const int bundles = (nibbles + kIndexBundle - 1) / kIndexBundle;
  Order sorted;
  std::iota(sorted.begin(), sorted.begin() + nibbles, uint16_t{0});
  std::sort(sorted.begin(), sorted.begin() + nibbles, [&](int a, int b) { return ranges[a] > ranges[b]; });
  std::fill(sorted.begin() + nibbles, sorted.end(), kNone);
  float widest = 0;
  for (int b = 0; b < bundles; ++b) {
    float width = 0;
    for (int i = 0; i < kIndexBundle; ++i) {
      const uint16_t n = sorted[i * bundles + (i % 2 == 0 ? b : bundles - 1 - b)];
      order[b * kIndexBundle + i] = n;
      if (n != kNone) width += ranges[n];
    }
    widest = std::max(widest, width);
  }
  constexpr float kSteps = 255 - kIndexBundle / 2.f;  // each entry of a bundle may be rounded up by half a step
  return std::max(widest / kSteps, 1e-20f);
}

// table: [16].
void quantise(const float* table, float inverse_step, uint8_t* entries) {
  const F d;
  const hn::Rebind<uint8_t, F> du;
  const int lanes = static_cast<int>(hn::Lanes(d));
  for (int e = 0; e < 16; e += lanes) {
    const auto steps = hn::NearestInt(hn::Mul(hn::LoadU(d, table + e), hn::Set(d, inverse_step)));
    hn::StoreU(hn::DemoteTo(du, steps), du, entries + e);
  }
}

void build_tables(const IndexHead& head, const float* q, float scale, float* work, IndexTables& t) {
  const int nibbles = static_cast<int>(head.nibbles.size());
  const int64_t dim = head.query_rotation.dim(1);
  float* u = work;                                                   // [R, kTogether]
  float* scores = u + kTogether * (head.query_rotation.dim(0) + 1);  // [heads, nibbles, 16]
  float* ranges = scores + t.heads * nibbles * 16;                   // [heads, nibbles]
  std::array<float, kMaxIndexNibbles> widest{};                      // of the heads
  for (int h = 0; h < t.heads; ++h) {
    if (h % kTogether == 0) {
      const float* x[kTogether];
      for (int i = 0; i < kTogether; ++i) x[i] = q + std::min(h + i, t.heads - 1) * dim;
      rotate_4(head.query_rotation, x, u);
    }
    for (int n = 0; n < nibbles; ++n) {
      const IndexNibble& nibble = head.nibbles[static_cast<size_t>(n)];
      const int i = h * nibbles + n;
      ranges[i] = nibble_scores(nibble, u + nibble.begin * kTogether + h % kTogether, scale, scores + i * 16);
      widest[n] = std::max(widest[n], ranges[i]);
    }
  }
  Order order;
  t.step = fill_bundles(widest.data(), nibbles, order);
  t.tile_bytes = static_cast<int>(KeyIndex::page_bytes(nibbles, kIndexTileTokens));
  const float inverse = 1.f / t.step;
  std::fill_n(t.tops, t.heads, 0);
  for (int s = 0; s < t.slots; ++s) {
    const int n = order[s];
    t.offsets[s] = n == kNone ? 0 : n * kIndexTileTokens / 2;
    for (int h = 0; h < t.heads; ++h) {
      if (n == kNone) {
        std::fill_n(t.entries + (h * t.slots + s) * 16, 16, uint8_t{0});
      } else {
        quantise(scores + (h * nibbles + n) * 16, inverse, t.entries + (h * t.slots + s) * 16);
        t.tops[h] += 1 + static_cast<int32_t>(std::min(254.f, ranges[h * nibbles + n] * inverse));
      }
    }
  }
}

#if HWY_MAX_BYTES < 32  // a shuffle of bytes looks up 32 codes or more, or is not worth it

// sums: out [heads][stride], of the tokens of a tile.
void scan_tile(const IndexTables& t, const std::byte* tile, uint16_t* sums, int64_t stride) {
  for (int h = 0; h < t.heads; ++h, sums += stride) {
    std::fill_n(sums, kIndexTileTokens, uint16_t{0});
    for (int s = 0; s < t.slots; ++s) {
      const auto* codes = reinterpret_cast<const uint8_t*>(tile + t.offsets[s]);
      const uint8_t* entries = t.entries + (h * t.slots + s) * 16;
      for (int i = 0; i < 32; ++i) {
        sums[i] = static_cast<uint16_t>(sums[i] + entries[codes[i] & 15]);
        sums[i + 32] = static_cast<uint16_t>(sums[i + 32] + entries[codes[i] >> 4]);
      }
    }
  }
}

#else

using B = hn::ScalableTag<uint8_t>;
using W = hn::Repartition<uint16_t, B>;
constexpr int kLanes = static_cast<int>(hn::MaxLanes(B()));
constexpr int kVectors = kIndexTileTokens / kLanes;  // one, or one of the bytes' low halves and one of their high ones
constexpr int kHeadsAtOnce = kVectors == 1 ? 4 : 2;  // query heads whose sums fit the registers
static_assert(kVectors == 1 || kVectors == 2);

// The codes of a tile for one nibble, one a byte.
HWY_INLINE void load_codes(const std::byte* nibble, hn::Vec<B> (&codes)[kVectors]) {
  const auto low_half = hn::Set(B(), 15);
  const auto* bytes = reinterpret_cast<const uint8_t*>(nibble);
  if constexpr (kVectors == 1) {
    const hn::Half<B> half;
    const auto pairs = hn::LoadU(half, bytes);
    const auto shifts = hn::Combine(W(), hn::Set(hn::Half<W>(), 4), hn::Zero(hn::Half<W>()));
    codes[0] = hn::And(hn::BitCast(B(), hn::Shr(hn::BitCast(W(), hn::Combine(B(), pairs, pairs)), shifts)), low_half);
  } else {
    const auto pairs = hn::LoadU(B(), bytes);
    codes[0] = hn::And(pairs, low_half);
    codes[1] = hn::And(hn::BitCast(B(), hn::ShiftRight<4>(hn::BitCast(W(), pairs))), low_half);
  }
}

// Sums are kept in 16 bits, twice: of the bytes of odd tokens alone, and of pairs of bytes as they lie, from which the
// former is taken in the end (as in FAISS' fast scan): one shift less for each addition.
template <int kHeads>
HWY_INLINE void scan_heads(const IndexTables& t, int first, const std::byte* tile, uint16_t* sums, int64_t stride) {
  const B d;
  const W dw;
  hn::Vec<W> both[kHeads][kVectors], odd[kHeads][kVectors];
  for (int h = 0; h < kHeads; ++h)
    for (int v = 0; v < kVectors; ++v) both[h][v] = odd[h][v] = hn::Zero(dw);
  const uint8_t* entries = t.entries + first * t.slots * 16;
  const int64_t head = t.slots * 16;
  for (int s = 0; s < t.slots; s += kIndexBundle) {
    hn::Vec<B> bundle[kHeads][kVectors];
    for (int i = 0; i < kIndexBundle; ++i, entries += 16) {
      hn::Vec<B> codes[kVectors];
      load_codes(tile + t.offsets[s + i], codes);
      for (int h = 0; h < kHeads; ++h) {
        const auto table = hn::LoadDup128(d, entries + h * head);
        for (int v = 0; v < kVectors; ++v) {
          const auto found = hn::TableLookupBytes(table, codes[v]);
          bundle[h][v] = i == 0 ? found : hn::SaturatedAdd(bundle[h][v], found);
        }
      }
    }
    for (int h = 0; h < kHeads; ++h) {
      for (int v = 0; v < kVectors; ++v) {
        both[h][v] = hn::Add(both[h][v], hn::BitCast(dw, bundle[h][v]));
        odd[h][v] = hn::Add(odd[h][v], hn::ShiftRight<8>(hn::BitCast(dw, bundle[h][v])));
      }
    }
  }
  for (int h = 0; h < kHeads; ++h)
    for (int v = 0; v < kVectors; ++v)
      hn::StoreInterleaved2(hn::Sub(both[h][v], hn::ShiftLeft<8>(odd[h][v])), odd[h][v], dw,
                            sums + (first + h) * stride + v * kLanes);
}

// sums: out [heads][stride], of the tokens of a tile.
void scan_tile(const IndexTables& t, const std::byte* tile, uint16_t* sums, int64_t stride) {
  int h = 0;
  for (; h + kHeadsAtOnce <= t.heads; h += kHeadsAtOnce) scan_heads<kHeadsAtOnce>(t, h, tile, sums, stride);
  for (; h < t.heads; ++h) scan_heads<1>(t, h, tile, sums, stride);
}

#endif

float sum_exponentials(const uint16_t* sums, int64_t count, float step, int32_t top) {
  const hn::ScalableTag<float> d;
  const hn::Rebind<int32_t, decltype(d)> di;
  const hn::Rebind<uint16_t, decltype(d)> dw;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  constexpr float kOne = 0x1p7f;           // of the exponent, in the upper 16 bits of a float
  constexpr float kMagic = 0x1p23f;        // adding it leaves a whole number in the low bits
  constexpr float kMeanExcess = 0.05730f;  // of log2(1 + f) over f, for f from 0 to 1
  const float slope = step * kOne;
  const float start = kMagic + (127 + kIndexHeadroom - kMeanExcess - static_cast<float>(top) * step) * kOne;
  constexpr int kUnroll = 4;
  hn::Vec<decltype(d)> totals[kUnroll];
  for (auto& total : totals) total = hn::Zero(d);
  int64_t t = 0;
  for (; t + kUnroll * lanes <= count; t += kUnroll * lanes) {
    for (int i = 0; i < kUnroll; ++i) {
      const auto sum = hn::ConvertTo(d, hn::PromoteTo(di, hn::LoadU(dw, sums + t + i * lanes)));
      const auto bits = hn::Max(hn::MulAdd(sum, hn::Set(d, slope), hn::Set(d, start)), hn::Set(d, kMagic));
      totals[i] = hn::Add(totals[i], hn::BitCast(d, hn::ShiftLeft<16>(hn::BitCast(di, bits))));
    }
  }
  const auto total = hn::Add(hn::Add(totals[0], totals[1]), hn::Add(totals[2], totals[3]));
  float result = hn::GetLane(hn::SumOfLanes(d, total));
  for (; t < count; ++t) {
    const float bits = std::max(static_cast<float>(sums[t]) * slope + start, kMagic);
    result += std::bit_cast<float>(std::bit_cast<uint32_t>(bits) << 16);
  }
  return result;
}

void scan_index(const IndexScan& s) {
  constexpr int64_t kBlock = 16 * kIndexTileTokens;  // tokens whose exponentials are added up while they are near
  constexpr int64_t kAhead = 4096;                   // bytes of codes asked for before they are needed
  const IndexTables& t = *s.tables;
  const KvPages& kv = *s.kv;
  const int64_t bytes = t.tile_bytes;
  const int64_t ahead = std::max<int64_t>(1, kAhead / bytes) * kIndexTileTokens;
  const auto tile = [&](int64_t at) {
    return kv.plane_page(s.plane, s.head, at / kv.page_tokens) + at % kv.page_tokens / kIndexTileTokens * bytes;
  };
  std::fill_n(s.totals, t.heads, 0.f);
  for (int64_t block = s.begin; block < s.end; block += kBlock) {
    const int64_t end = std::min(block + kBlock, s.end);
    for (int64_t at = block; at < end; at += kIndexTileTokens) {
      if (at + ahead < s.end) {
        const std::byte* next = tile(at + ahead);
        for (int64_t i = 0; i < bytes; i += 64) hwy::Prefetch(next + i);
      }
      scan_tile(t, tile(at), s.sums + at - s.begin, s.stride);
    }
    for (int h = 0; h < t.heads; ++h)
      s.totals[h] += sum_exponentials(s.sums + h * s.stride + block - s.begin, end - block, t.step, t.tops[h]);
  }
}

void index_keys(const IndexKeys& k) {
  int64_t t = 0;
#if HWY_MAX_BYTES >= 32
  const hn::ScalableTag<float> d;
  const hn::RebindToSigned<decltype(d)> di;
  const hn::Half<W> half;
  constexpr int64_t lanes = hn::MaxLanes(W());
  const auto step = hn::Set(d, k.step), start = hn::Set(d, k.start);
  for (; t + lanes <= k.count; t += lanes) {
    auto best = hn::Zero(W());
    for (int h = 0; h < k.heads; ++h)
      best = hn::Max(best, hn::SaturatedSub(hn::LoadU(W(), k.sums + h * k.stride + t), hn::Set(W(), k.drops[h])));
    const auto low = hn::ConvertTo(d, hn::PromoteTo(di, hn::LowerHalf(half, best)));
    const auto high = hn::ConvertTo(d, hn::PromoteTo(di, hn::UpperHalf(half, best)));
    hn::StoreU(hn::MulAdd(low, step, start), d, k.keys + t);
    hn::StoreU(hn::MulAdd(high, step, start), d, k.keys + t + lanes / 2);
  }
#endif
  for (; t < k.count; ++t) {
    int best = 0;
    for (int h = 0; h < k.heads; ++h) best = std::max(best, k.sums[h * k.stride + t] - k.drops[h]);
    k.keys[t] = static_cast<float>(best) * k.step + k.start;
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
