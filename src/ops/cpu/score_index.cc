// The door of score_index and the sharing of its work. A unit is up to 4 query heads of one row and KV head; batches of
// units go through three regions: their tables, the scan of their codes run by run, and the keys run by run. The sums
// of a batch, 2 bytes per token and head, wait in between in the caches. Units are in the order of KV heads, so that
// the rows of a chunk of a prompt find the codes of a head where the row before left them.
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

int64_t runs(int64_t length) { return (length + run_tokens(length) - 1) / run_tokens(length); }

// The work of one call. Pair p is row p % N, KV head p / N.
class Plan {
 public:
  Plan(const ScoreIndexArgs& a, int threads, Scratch::Frame& frame) : a_(a), rows_(a.q.dim(0)) {
    group_ = a.q.dim(1) / a.kv[0].kv_heads;
    parts_ = (group_ + kIndexHeads - 1) / kIndexHeads;
    slots_ = (a.index.nibbles() + 1) / 2 * 2;
    int64_t longest = 0;
    for (const KvPages& kv : a.kv) {
      longest = std::max(longest, kv.length);
      runs_ = std::max(runs_, ::lowkey::runs(kv.length));
    }
    stride_ = (longest + kIndexTileTokens - 1) / kIndexTileTokens * kIndexTileTokens + kIndexTileTokens;
    batch_ = std::clamp<int64_t>(kBatchSums / (group_ * stride_), 1, pairs());
    work_floats_ = index_table_floats(a.index.heads[0].rotation.dim(0), a.index.nibbles());
    work_ = frame.take<float>(threads * work_floats_);
    tables_ = frame.take<IndexTables>(batch_ * parts_);
    entries_ = frame.take<uint8_t>(batch_ * slots_ * group_ * 16);
    offsets_ = frame.take<int32_t>(batch_ * parts_ * slots_);
    totals_ = frame.take<float>(batch_ * runs_ * group_);
    steps_ = frame.take<float>(batch_ * group_);
    starts_ = frame.take<float>(batch_ * group_);
    sums_ = frame.take<uint16_t>(batch_ * group_ * stride_);
  }

  int64_t pairs() const noexcept { return rows_ * a_.kv[0].kv_heads; }
  int64_t batch() const noexcept { return batch_; }  // pairs worked on together
  int64_t runs() const noexcept { return runs_; }    // of a pair, at most

  // Slot: the number of a pair in its batch.
  void build(int64_t pair, int64_t slot, int thread) const noexcept {
    const IndexHead& head = a_.index.heads[static_cast<size_t>(pair / rows_)];
    const float scale = a_.scale * std::numbers::log2e_v<float>;
    for (int64_t part = 0; part < parts_; ++part) {
      IndexTables& t = tables_[slot * parts_ + part];
      t.heads = static_cast<int>(std::min<int64_t>(kIndexHeads, group_ - part * kIndexHeads));
      t.entries = entries_ + (slot * group_ + part * kIndexHeads) * slots_ * 16;
      t.offsets = offsets_ + (slot * parts_ + part) * slots_;
      const int64_t query = pair % rows_ * a_.q.dim(1) + pair / rows_ * group_ + part * kIndexHeads;
      build_tables(head, a_.q.f32_row(query), scale, work_ + thread * work_floats_, t);
    }
  }

  void scan(int64_t pair, int64_t slot, int64_t run) const noexcept {
    const KvPages& kv = a_.kv[static_cast<size_t>(pair % rows_)];
    const int64_t tokens = run_tokens(kv.length), begin = run * tokens;
    for (int64_t part = 0; part < parts_ && begin < kv.length; ++part)
      scan_index({.kv = &kv,
                  .plane = a_.plane,
                  .head = static_cast<int>(pair / rows_),
                  .begin = begin,
                  .end = std::min(begin + tokens, kv.length),
                  .tables = &tables_[slot * parts_ + part],
                  .sums = sums(slot, part * kIndexHeads) + begin,
                  .stride = stride_,
                  .total = totals_ + (slot * runs_ + run) * group_ + part * kIndexHeads});
  }

  // key = step * sum + start: the start takes each head's bias, which all tokens share, for the logarithm of the sum.
  void normalise(int64_t pair, int64_t slot) const noexcept {
    const int64_t length = a_.kv[static_cast<size_t>(pair % rows_)].length;
    for (int64_t g = 0; g < group_; ++g) {
      const IndexTables& t = tables_[slot * parts_ + g / kIndexHeads];
      int32_t top = t.top[g % kIndexHeads];
      double total = 0;
      for (int64_t run = 0; run < ::lowkey::runs(length); ++run) total += totals_[(slot * runs_ + run) * group_ + g];
      if (total < kIndexLeastTotal) {  // no token comes near what the tables would allow
        const uint16_t* sums = this->sums(slot, g);
        top = *std::max_element(sums, sums + length);
        total = sum_exponentials(sums, length, t.step, top);
      }
      steps_[slot * group_ + g] = t.step;
      starts_[slot * group_ + g] = static_cast<float>(kIndexHeadroom - std::log2(total) - double{t.step} * top);
    }
  }

  void write(int64_t pair, int64_t slot, int64_t run) const noexcept {
    const int64_t row = pair % rows_, length = a_.kv[static_cast<size_t>(row)].length, tokens = run_tokens(length);
    const int64_t begin = run * tokens;
    if (begin >= length) return;
    index_keys({.sums = sums(slot, 0) + begin,
                .stride = stride_,
                .count = std::min(tokens, length - begin),
                .heads = static_cast<int>(group_),
                .step = steps_ + slot * group_,
                .offset = starts_ + slot * group_,
                .keys = a_.keys.f32_row(row * a_.kv[0].kv_heads + pair / rows_) + begin});
  }

 private:
  static constexpr int64_t kBatchSums = int64_t{2} << 20;  // 4 MB: a part of the last-level cache

  uint16_t* sums(int64_t slot, int64_t g) const noexcept { return sums_ + (slot * group_ + g) * stride_; }

  const ScoreIndexArgs& a_;
  int64_t rows_, group_, parts_, slots_, runs_ = 0, stride_, batch_, work_floats_;
  float* work_;             // [threads, work_floats]
  IndexTables* tables_;     // [batch, parts]
  uint8_t* entries_;        // [batch, G, slots, 16]
  int32_t* offsets_;        // [batch, parts, slots]
  float* totals_;           // [batch, runs, G]
  float *steps_, *starts_;  // [batch, G]
  uint16_t* sums_;          // [batch, G, stride]
};

}  // namespace

void score_index(const Context& context, const ScoreIndexArgs& a) {
  check(a);
  if (a.kv.empty()) return;
  Scratch::Frame frame(context.scratch);
  const Plan plan(a, context.threads.count(), frame);
  for (int64_t first = 0; first < plan.pairs(); first += plan.batch()) {
    const int64_t count = std::min(plan.batch(), plan.pairs() - first), runs = plan.runs();
    context.threads.dynamic(count, [&](int64_t i, int thread) { plan.build(first + i, i, thread); });
    context.threads.dynamic(count * runs, [&](int64_t i, int) { plan.scan(first + i / runs, i / runs, i % runs); });
    for (int64_t i = 0; i < count; ++i) plan.normalise(first + i, i);
    context.threads.dynamic(count * runs, [&](int64_t i, int) { plan.write(first + i / runs, i / runs, i % runs); });
  }
}

}  // namespace lowkey
