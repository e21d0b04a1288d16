// The threshold that K keys reach is found by counting: how many reach it is halved upon halving of the range of
// floats. A strided sample guesses a threshold that somewhat more than K keys reach, so that one pass over the row
// leaves few candidates, and the halving works on those. A guess too high costs time, never the result.
#include "ops/cpu/select_row.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/select_row.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "ops/cpu/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lowkey {
namespace HWY_NAMESPACE {
namespace {

using D = hn::ScalableTag<float>;
using DI = hn::RebindToSigned<D>;
constexpr int64_t kLanes = static_cast<int64_t>(hn::MaxLanes(D()));
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Integers in the order of floats, and back.
int64_t to_order(float x) {
  const auto bits = std::bit_cast<int32_t>(x);
  return bits < 0 ? bits ^ 0x7fffffff : bits;
}
float from_order(int64_t order) {
  const auto bits = static_cast<int32_t>(order);
  return std::bit_cast<float>(bits < 0 ? bits ^ 0x7fffffff : bits);
}

// What reaches a threshold.
struct Reach {
  float threshold;
  int64_t count;
  double weight = 0;
};

Reach count_reach(const float* keys, int64_t n, float threshold) {
  const D d;
  const DI di;
  constexpr int kUnroll = 4;
  const auto least = hn::Set(d, threshold);
  const auto ones = [&](int64_t i) {
    return hn::VecFromMask(di, hn::RebindMask(di, hn::Ge(hn::LoadU(d, keys + i), least)));
  };
  hn::Vec<DI> counts[kUnroll];
  for (auto& c : counts) c = hn::Zero(di);
  int64_t i = 0;
  for (; i + kUnroll * kLanes <= n; i += kUnroll * kLanes)
    for (int j = 0; j < kUnroll; ++j) counts[j] = hn::Sub(counts[j], ones(i + j * kLanes));
  for (; i + kLanes <= n; i += kLanes) counts[0] = hn::Sub(counts[0], ones(i));
  const auto sum = hn::Add(hn::Add(counts[0], counts[1]), hn::Add(counts[2], counts[3]));
  int64_t count = hn::GetLane(hn::SumOfLanes(di, sum));
  for (; i < n; ++i) count += keys[i] >= threshold;
  return {threshold, count};
}

Reach weigh_reach(const float* keys, const float* weights, int64_t n, float threshold) {
  const D d;
  Reach reach = count_reach(keys, n, threshold);
  constexpr int64_t kBlock = 1024;  // summed in f32
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int64_t end = std::min(begin + kBlock, n);
    auto sum = hn::Zero(d);
    int64_t i = begin;
    for (; i + kLanes <= end; i += kLanes)
      sum = hn::Add(
          sum, hn::IfThenElseZero(hn::Ge(hn::LoadU(d, keys + i), hn::Set(d, threshold)), hn::LoadU(d, weights + i)));
    reach.weight += hn::GetLane(hn::SumOfLanes(d, sum));
    for (; i < end; ++i) reach.weight += keys[i] >= threshold ? weights[i] : 0.f;
  }
  return reach;
}

// The range of floats halved. measure(threshold) says what reaches it; enough(low), not enough(high). Ends when
// done(low, high), else with low as high as is enough and high the float above it.
template <class Measure, class Enough, class Done>
void halve(Reach& low, Reach& high, const Measure& measure, const Enough& enough, const Done& done) {
  int64_t below = to_order(low.threshold), above = to_order(high.threshold);
  while (above - below > 1 && !done(low, high)) {
    const int64_t middle = below + (above - below) / 2;
    const Reach reach = measure(from_order(middle));
    if (enough(reach)) {
      low = reach, below = middle;
    } else {
      high = reach, above = middle;
    }
  }
}

// A threshold that at least `least` keys reach, and at most `most` unless ties forbid.
Reach find_threshold(const float* keys, int64_t n, Reach low, Reach high, int64_t least, int64_t most) {
  halve(
      low, high, [&](float threshold) { return count_reach(keys, n, threshold); },
      [&](const Reach& reach) { return reach.count >= least; },
      [&](const Reach& reach, const Reach&) { return reach.count <= most; });
  return low;
}

// The lanes that the bits of a byte name, lowest first, then any.
constexpr auto kPacked = [] {
  std::array<std::array<uint8_t, 8>, 256> table{};
  for (size_t bits = 0; bits < table.size(); ++bits)
    for (uint8_t lane = 0, count = 0; lane < 8; ++lane)
      if (bits >> lane & 1) table[bits][count++] = lane;
  return table;
}();

// The lanes of v where the mask is true, in front. Highway's own copies its whole table to the stack on AVX2.
template <class V, class M>
HWY_INLINE V pack(V v, M mask) {
  const hn::DFromV<V> d;
  if constexpr (kLanes == 8) {
    uint8_t bits[8] = {};
    hn::StoreMaskBits(d, mask, bits);
    const auto lanes = hn::PromoteTo(DI(), hn::LoadU(hn::Rebind<uint8_t, DI>(), kPacked[bits[0]].data()));
    return hn::TableLookupLanes(v, hn::IndicesFromVec(d, lanes));
  } else {
    return hn::Compress(v, mask);
  }
}

// The ids (first + i) of keys that reach the threshold, ascending. Returns how many.
int64_t gather(const float* keys, int64_t n, int32_t first, float threshold, int32_t* ids) {
  const D d;
  const DI di;
  auto id = hn::Iota(di, first);
  const auto least = hn::Set(d, threshold);
  const auto step = hn::Set(di, static_cast<int32_t>(kLanes));
  int64_t count = 0, i = 0;
  for (; i + kLanes <= n; i += kLanes, id = hn::Add(id, step)) {
    const auto reached = hn::RebindMask(di, hn::Ge(hn::LoadU(d, keys + i), least));
    hn::StoreU(pack(id, reached), di, ids + count);
    count += static_cast<int64_t>(hn::CountTrue(di, reached));
  }
  for (; i < n; ++i) {
    ids[count] = static_cast<int32_t>(first + i);
    count += keys[i] >= threshold;
  }
  return count;
}

// A threshold that somewhat more than k of n keys reach, most likely: a sample of short pieces, for neighbours
// resemble each other, and a margin of 4 standard deviations of the count that independent ones would have.
Reach guess(const float* keys, int64_t n, int64_t k, float* sample) {
  constexpr int64_t kPieces = 256, kPiece = 8, kSample = kPieces * kPiece;
  const Reach all{-kInfinity, n};
  if (n < 4 * kSample) return all;
  for (int64_t i = 0; i < kPieces; ++i)
    std::copy_n(keys + i * (n - kPiece) / (kPieces - 1), kPiece, sample + i * kPiece);
  const double mean = static_cast<double>(k) / static_cast<double>(n) * kSample;
  const double rank = mean + 4 * std::sqrt(mean) + 8;
  if (rank > 0.8 * kSample) return all;
  return find_threshold(sample, kSample, {-kInfinity, kSample}, {kInfinity, 0}, static_cast<int64_t>(rank),
                        static_cast<int64_t>(rank * 1.1));
}

// The ids in [sink, sink + n) of all keys that a threshold lets through, the k best at least, into candidates, with
// their keys. k <= n.
Reach gather_candidates(const SelectRow& row, int64_t n, int64_t k) {
  const auto sink = static_cast<int32_t>(row.budget->sink);
  const float* keys = row.keys + sink;
  float threshold = guess(keys, n, k, row.candidate_keys).threshold;
  int64_t count = gather(keys, n, sink, threshold, row.candidates);
  if (count < k) {
    threshold = find_threshold(keys, n, {-kInfinity, n}, {threshold, count}, k, k + k / 4).threshold;
    count = gather(keys, n, sink, threshold, row.candidates);
  }
  for (int64_t i = 0; i < count; ++i) row.candidate_keys[i] = row.keys[row.candidates[i]];
  return {threshold, count};
}

// Moves those of candidates [begin, end) that reach the threshold to `kept` and on: what is written has been read.
int64_t keep(const SelectRow& row, int64_t begin, int64_t end, float threshold, int64_t kept) {
  const D d;
  const DI di;
  float* keys = row.candidate_keys;
  int64_t i = begin;
  for (; i + kLanes <= end; i += kLanes) {
    const auto key = hn::LoadU(d, keys + i);
    const auto id = hn::LoadU(di, row.candidates + i);
    const auto reached = hn::Ge(key, hn::Set(d, threshold));
    hn::StoreU(pack(key, reached), d, keys + kept);
    hn::StoreU(pack(id, hn::RebindMask(di, reached)), di, row.candidates + kept);
    kept += static_cast<int64_t>(hn::CountTrue(d, reached));
  }
  for (; i < end; ++i) {
    if (!(keys[i] >= threshold)) continue;
    row.candidates[kept] = row.candidates[i];
    keys[kept++] = keys[i];
  }
  return kept;
}

// The threshold of the k best of n candidates that all reach `least`. Once few are in doubt, only those are counted.
Reach find_best(const float* keys, int64_t n, float least, int64_t k) {
  constexpr int64_t kFew = 128;
  Reach low{least, n}, high{kInfinity, 0};
  halve(
      low, high, [&](float threshold) { return count_reach(keys, n, threshold); },
      [&](const Reach& reach) { return reach.count >= k; },
      [&](const Reach& enough, const Reach& less) { return enough.count == k || enough.count - less.count <= kFew; });
  if (low.count == k || low.count - high.count > kFew) return low;
  const D d;
  float doubtful[kFew + kLanes];
  int64_t count = 0, i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const auto key = hn::LoadU(d, keys + i);
    const auto in = hn::And(hn::Ge(key, hn::Set(d, low.threshold)), hn::Lt(key, hn::Set(d, high.threshold)));
    hn::StoreU(pack(key, in), d, doubtful + count);
    count += static_cast<int64_t>(hn::CountTrue(d, in));
  }
  for (; i < n; ++i)
    if (keys[i] >= low.threshold && keys[i] < high.threshold) doubtful[count++] = keys[i];
  const Reach found =
      find_threshold(doubtful, count, {low.threshold, count}, {high.threshold, 0}, k - high.count, k - high.count);
  return {found.threshold, found.count + high.count};
}

// Keeps the k best of n candidates that all reach `least`; of equal ones the first.
void keep_best(const SelectRow& row, int64_t n, float least, int64_t k) {
  if (k == n) return;
  const float* keys = row.candidate_keys;
  const Reach found = find_best(keys, n, least, k);
  if (found.count == k) {
    keep(row, 0, n, found.threshold, 0);
    return;
  }
  const float above = std::nextafter(found.threshold, kInfinity);
  int64_t ties = k - count_reach(keys, n, above).count, end = 0;  // from the end on they are too many
  for (; ties > 0 && end < n; ++end) ties -= keys[end] == found.threshold;
  keep(row, end, n, above, keep(row, 0, end, found.threshold, 0));
}

// weights[i] = 2^(keys[i] - max), written unless null. Returns their sum.
double weigh(const float* keys, int64_t n, float max, float* weights) {
  const hn::CappedTag<float, 8> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  constexpr int64_t kBlock = 1024;  // summed in f32
  double total = 0;
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int64_t end = std::min(begin + kBlock, n);
    auto sum = hn::Zero(d);
    int64_t i = begin;
    for (; i + lanes <= end; i += lanes) {
      const auto weight = exp2_nonpositive(d, hn::Sub(hn::LoadU(d, keys + i), hn::Set(d, max)));
      if (weights) hn::StoreU(weight, d, weights + i);
      sum = hn::Add(sum, weight);
    }
    total += hn::GetLane(hn::SumOfLanes(d, sum));
    for (; i < end; ++i) {
      const float weight = std::exp2(keys[i] - max);
      if (weights) weights[i] = weight;
      total += weight;
    }
  }
  return total;
}

// How many of n candidates hold the share, together with sink and recent.
int64_t count_needed(const SelectRow& row, int64_t n) {
  const SelectBudget& b = *row.budget;
  const float max = *std::max_element(row.keys, row.keys + row.length);
  const double missing = b.share * weigh(row.keys, row.length, max, nullptr) - weigh(row.keys, b.sink, max, nullptr) -
                         weigh(row.keys + row.length - b.recent, b.recent, max, nullptr);
  Reach low{-kInfinity, n, weigh(row.candidate_keys, n, max, row.weights)}, high{kInfinity, 0};
  if (missing <= 0) return 0;
  if (!(low.weight > missing)) return n;
  halve(
      low, high, [&](float threshold) { return weigh_reach(row.candidate_keys, row.weights, n, threshold); },
      [&](const Reach& reach) { return reach.weight >= missing; },
      [&](const Reach& enough, const Reach& less) { return enough.count - less.count <= 1; });
  const auto ties = static_cast<double>(low.count - high.count);
  return high.count + static_cast<int64_t>(std::ceil((missing - high.weight) / (low.weight - high.weight) * ties));
}

TokenList select_row(const SelectRow& row) {
  const SelectBudget& b = *row.budget;
  const int64_t between = row.length - b.sink - b.recent, most = std::min(b.most, between);
  if (between <= 0 || (most == between && b.share >= 1)) return {nullptr, row.length};
  const Reach candidates = gather_candidates(row, between, most);
  int64_t count = most;
  if (candidates.count < most) {  // keys that are no numbers: any tokens will do, as long as they are tokens
    std::iota(row.candidates, row.candidates + most, static_cast<int32_t>(b.sink));
  } else {
    keep_best(row, candidates.count, candidates.threshold, most);
    if (b.share < 1) count = std::clamp(count_needed(row, most), std::min(b.least, most), most);
    if (count == between) return {nullptr, row.length};
    keep_best(row, most, candidates.threshold, count);
  }
  int32_t* end = std::copy_n(row.candidates, count, row.ids + b.sink);
  std::iota(row.ids, row.ids + b.sink, 0);
  std::iota(end, end + b.recent, static_cast<int32_t>(row.length - b.recent));
  return {row.ids, b.sink + count + b.recent};
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lowkey
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lowkey {

HWY_EXPORT(select_row);

TokenList select_row(const SelectRow& row) noexcept { return HWY_DYNAMIC_DISPATCH(select_row)(row); }

}  // namespace lowkey
#endif
