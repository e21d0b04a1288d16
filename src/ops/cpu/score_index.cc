// The door of score_index and the sharing of its work. A pair is a row and a KV head. It takes its tables, the scan of
// its codes run by run, and the keys run by run; in between its sums wait, 2 bytes per token and query head. Where
// there are pairs enough each thread takes whole ones, whose sums stay in its own cache; else all threads share the
// runs of all pairs. Pairs are in the order of KV heads, so that the rows of a chunk of a prompt find the codes of a
// head where the row before left them.
#include "ops/score_index.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "base/error.h"
#include "ops/check_index.h"
#include "ops/cpu/index_scan.h"

namespace lowkey {
namespace {

void check(const ScoreIndexArgs& a) {
  LK_REQUIRE(a.q.rank == 3 && a.q.dtype == DType::kF32 && a.q.dim(0) == static_cast<int64_t>(a.kv.size()),
             kInvalidArgument, "[score_index] q={}, must be f32 [{}, H, D]", a.q.describe(), a.kv.size());
  for (const KvPages& kv : a.kv) {
    check_index("score_index", a.index, kv, a.plane);
    LK_REQUIRE(a.q.dim(2) == kv.head_dim && a.q.dim(1) >= 1 && a.q.dim(1) % kv.kv_heads == 0, kInvalidArgument,
               "[score_index] q={} against {} KV heads of {}", a.q.describe(), kv.kv_heads, kv.head_dim);
    LK_REQUIRE(a.keys.rank == 3 && a.keys.dtype == DType::kF32 && a.keys.dim(0) == a.q.dim(0) &&
                   a.keys.dim(1) == kv.kv_heads && a.keys.dim(2) >= kv.length,
               kInvalidArgument, "[score_index] keys={}, must be f32 [{}, {}, at least {}]", a.keys.describe(),
               a.q.dim(0), kv.kv_heads, kv.length);
  }
}

// Tokens of a run of a row: it must not depend on the number of threads or on other rows, then neither do results.
int64_t run_tokens(int64_t length) {
  constexpr int64_t kShortest = 2048, kMostRuns = 16;
  int64_t run = kShortest;
  while (run * kMostRuns < length) run *= 2;
  return run;
}

int64_t run_count(int64_t length) { return (length + run_tokens(length) - 1) / run_tokens(length); }

// The work of one call. Pair p is row p % N, KV head p / N.
class Plan {
 public:
  Plan(const ScoreIndexArgs& a, int threads, Scratch::Frame& frame) : a_(a), rows_(a.q.dim(0)) {
    group_ = a.q.dim(1) / a.kv[0].kv_heads;
    slots_ = index_slots(a.index.nibbles());
    int64_t longest = 0;
    for (const KvPages& kv : a.kv) {
      longest = std::max(longest, kv.length);
      runs_ = std::max(runs_, run_count(kv.length));
    }
    stride_ = (longest + kIndexTileTokens - 1) / kIndexTileTokens * kIndexTileTokens;
    whole_ = pairs() >= kWholePairs * threads;
    const int64_t places = whole_ ? threads : pairs();
    work_floats_ = index_table_floats(group_, a.index.heads[0].rotation.dim(0), a.index.nibbles());
    work_ = frame.take<float>(threads * work_floats_);
    places_ = frame.take<Place>(places);
    auto* entries = frame.take<uint8_t>(places * slots_ * group_ * 16);
    auto* offsets = frame.take<int32_t>(places * slots_);
    auto* tops = frame.take<int32_t>(places * group_);
    auto* drops = frame.take<uint16_t>(places * group_);
    auto* totals = frame.take<float>(places * runs_ * group_);
    auto* sums = frame.take<uint16_t>(places * group_ * stride_);
    for (int64_t i = 0; i < places; ++i) {
      const int64_t g = i * group_;
      places_[i] = {.tables = {.heads = static_cast<int>(group_),
                               .slots = static_cast<int>(slots_),
                               .entries = entries + g * slots_ * 16,
                               .offsets = offsets + i * slots_,
                               .tops = tops + g,
                               .step = 0},
                    .totals = totals + g * runs_,
                    .sums = sums + g * stride_,
                    .drops = drops + g,
                    .start = 0};
    }
  }

  int64_t pairs() const noexcept { return rows_ * a_.kv[0].kv_heads; }
  bool whole() const noexcept { return whole_; }   // a pair is one thread's work, and has that thread's place
  int64_t runs() const noexcept { return runs_; }  // of a pair, at most

  // `at` is the place where a pair's numbers are kept.
  void build(int64_t pair, int64_t at, int thread) const noexcept {
    const int64_t row = pair % rows_, head = pair / rows_;
    build_tables(a_.index.heads[static_cast<size_t>(head)], a_.q.f32_row(row * a_.q.dim(1) + head * group_),
                 a_.scale * std::numbers::log2e_v<float>, work_ + thread * work_floats_, places_[at].tables);
  }

  void scan(int64_t pair, int64_t at, int64_t run) const noexcept {
    const KvPages& kv = a_.kv[static_cast<size_t>(pair % rows_)];
    const int64_t tokens = run_tokens(kv.length), begin = run * tokens;
    if (begin >= kv.length) return;
    scan_index({.kv = &kv,
                .plane = a_.plane,
                .head = static_cast<int>(pair / rows_),
                .begin = begin,
                .end = std::min(begin + tokens, kv.length),
                .tables = &places_[at].tables,
                .sums = places_[at].sums + begin,
                .stride = stride_,
                .totals = places_[at].totals + run * group_});
  }

  // A head's key is step * sum + its own start. They are compared as whole steps below the highest start: that head's
  // own sums are at least 0, so what falls below is never the maximum.
  void normalise(int64_t pair, int64_t at) const noexcept {
    Place& place = places_[at];
    const int64_t length = a_.kv[static_cast<size_t>(pair % rows_)].length;
    double highest = start(place, 0, length);
    for (int64_t g = 1; g < group_; ++g) highest = std::max(highest, start(place, g, length));
    for (int64_t g = 0; g < group_; ++g) {
      const double drop = std::round((highest - start(place, g, length)) / place.tables.step);
      place.drops[g] = static_cast<uint16_t>(std::min(65535., drop));
    }
    place.start = static_cast<float>(highest);
  }

  void write(int64_t pair, int64_t at, int64_t run) const noexcept {
    const int64_t row = pair % rows_, length = a_.kv[static_cast<size_t>(row)].length, tokens = run_tokens(length);
    const int64_t begin = run * tokens;
    if (begin >= length) return;
    const Place& place = places_[at];
    index_keys({.sums = place.sums + begin,
                .stride = stride_,
                .count = std::min(tokens, length - begin),
                .heads = static_cast<int>(group_),
                .drops = place.drops,
                .step = place.tables.step,
                .start = place.start,
                .keys = a_.keys.f32_row(row * a_.kv[0].kv_heads + pair / rows_) + begin});
  }

 private:
  static constexpr int64_t kWholePairs = 4;  // of a thread: then the last ones do not keep the others waiting for long

  struct Place {  // what a pair needs
    IndexTables tables;
    float* totals;    // [runs, G]
    uint16_t* sums;   // [G, stride]
    uint16_t* drops;  // [G]
    float start;
  };

  // Of the keys of a head: minus the logarithm of the sum over tokens of 2^(step * sum).
  double start(const Place& place, int64_t g, int64_t length) const noexcept {
    int32_t top = place.tables.tops[g];
    double total = 0;
    for (int64_t run = 0; run < run_count(length); ++run) total += place.totals[run * group_ + g];
    if (total < kIndexLeastTotal) {  // no token comes near what the tables allow
      const uint16_t* sums = place.sums + g * stride_;
      top = *std::max_element(sums, sums + length);
      total = sum_exponentials(sums, length, place.tables.step, top);
    }
    return kIndexHeadroom - std::log2(total) - double{place.tables.step} * top;
  }

  const ScoreIndexArgs& a_;
  int64_t rows_, group_, slots_, runs_ = 0, stride_, work_floats_;
  bool whole_;
  float* work_;    // [threads, work_floats]
  Place* places_;  // [pairs], or one for each thread
};

}  // namespace

void score_index(const Context& context, const ScoreIndexArgs& a) {
  check(a);
  if (a.kv.empty()) return;
  const int threads = context.threads.count();
  Scratch::Frame frame(context.scratch);
  const Plan plan(a, threads, frame);
  const int64_t runs = plan.runs();
  if (plan.whole()) {
    context.threads.dynamic(plan.pairs(), [&](int64_t pair, int thread) {
      plan.build(pair, thread, thread);
      for (int64_t run = 0; run < runs; ++run) plan.scan(pair, thread, run);
      plan.normalise(pair, thread);
      for (int64_t run = 0; run < runs; ++run) plan.write(pair, thread, run);
    });
    return;
  }
  const int64_t pairs = plan.pairs();
  context.threads.dynamic(pairs, [&](int64_t pair, int thread) { plan.build(pair, pair, thread); });
  context.threads.dynamic(pairs * runs, [&](int64_t i, int) { plan.scan(i / runs, i / runs, i % runs); });
  for (int64_t pair = 0; pair < pairs; ++pair) plan.normalise(pair, pair);
  context.threads.dynamic(pairs * runs, [&](int64_t i, int) { plan.write(i / runs, i / runs, i % runs); });
}

}  // namespace lowkey
