// The door of score_keys. Pairs of a row and a KV head are worked on a batch at a time, so that the scores of all query
// heads need little room; a batch is cut into runs of tokens, then its pairs are reduced to keys.
#include "ops/score_keys.h"

#include <algorithm>
#include <numbers>

#include "base/error.h"
#include "ops/check_kv.h"
#include "ops/cpu/score_rows.h"
#include "ops/group_keys.h"

namespace lowkey {
namespace {

constexpr int64_t kRun = 1024;                        // tokens: an even share of work for every thread
constexpr int64_t kScratchFloats = int64_t{4} << 20;  // of scores held at a time, unless one pair takes more

void check(const ScoreKeysArgs& a) {
  LK_REQUIRE(a.q.rank == 3 && a.q.dtype == DType::kF32 && a.q.dim(0) == static_cast<int64_t>(a.kv.size()),
             kInvalidArgument, "[score_keys] q={}, must be f32 [{}, H, D]", a.q.describe(), a.kv.size());
  LK_REQUIRE(a.dims >= 1 && a.dims <= a.q.dim(2), kInvalidArgument, "[score_keys] dims={}, must be 1 to {}", a.dims,
             a.q.dim(2));
  LK_REQUIRE(a.keys.rank == 3 && a.keys.dtype == DType::kF32 && a.keys.dim(0) == a.q.dim(0), kInvalidArgument,
             "[score_keys] keys={}, must be f32 [{}, heads, S]", a.keys.describe(), a.q.dim(0));
  for (const KvPages& kv : a.kv) {
    check_kv("score_keys", kv);
    LK_REQUIRE(kv.head_dim == a.q.dim(2) && a.q.dim(1) % kv.kv_heads == 0 && kv.kv_heads == a.kv[0].kv_heads &&
                   kv.dtype == a.kv[0].dtype,
               kInvalidArgument, "[score_keys] q={} against {} KV heads of {}", a.q.describe(), kv.kv_heads,
               kv.head_dim);
    LK_REQUIRE(a.keys.dim(1) == (a.per_query_head ? a.q.dim(1) : kv.kv_heads) && a.keys.dim(2) >= kv.length,
               kInvalidArgument, "[score_keys] keys={} for {} tokens", a.keys.describe(), kv.length);
  }
}

class Plan {
 public:
  Plan(const ScoreKeysArgs& a, Scratch::Frame& frame) : a_(a) {
    kv_heads_ = a.kv[0].kv_heads;
    group_ = a.q.dim(1) / kv_heads_;
    pairs_ = a.q.dim(0) * kv_heads_;
    dims_ = (a.dims + 7) / 8 * 8;  // a key has a multiple of 8 coordinates; the query has zeros past its own
    longest_ = 1;
    for (const KvPages& kv : a.kv) longest_ = std::max(longest_, kv.length);
    batch_ = std::clamp<int64_t>(kScratchFloats / (group_ * longest_), 1, pairs_);
    q_ = frame.take<float>(pairs_ * group_ * dims_);
    const float scale = a.scale * std::numbers::log2e_v<float>;
    for (int64_t row = 0; row < pairs_ * group_; ++row)
      for (int i = 0; i < dims_; ++i) q_[row * dims_ + i] = i < a.dims ? a.q.f32()[row * a.q.dim(2) + i] * scale : 0.f;
    if (!a.per_query_head) scores_ = frame.take<float>(batch_ * group_ * longest_);
  }

  void run(const Threads& threads) const noexcept {
    const int64_t runs = (longest_ + kRun - 1) / kRun;
    for (int64_t first = 0; first < pairs_; first += batch_) {
      const int64_t pairs = std::min(batch_, pairs_ - first);
      threads.dynamic(pairs * runs, [&](int64_t i, int) { score(first, first + i / runs, i % runs * kRun); });
      if (a_.per_query_head) continue;
      threads.dynamic(pairs, [&](int64_t i, int) { reduce(first, first + i); });
    }
  }

 private:
  const KvPages& kv(int64_t pair) const noexcept { return a_.kv[static_cast<size_t>(pair / kv_heads_)]; }
  float* scores(int64_t first, int64_t pair) const noexcept {
    return a_.per_query_head ? a_.keys.f32() + pair * group_ * a_.keys.columns()
                             : scores_ + (pair - first) * group_ * longest_;
  }

  void score(int64_t first, int64_t pair, int64_t begin) const noexcept {
    const int64_t end = std::min(begin + kRun, kv(pair).length);
    if (begin >= end) return;
    score_rows({.kv = &kv(pair),
                .head = static_cast<int>(pair % kv_heads_),
                .begin = begin,
                .end = end,
                .q = q_ + pair * group_ * dims_,
                .heads = static_cast<int>(group_),
                .dims = dims_,
                .scores = scores(first, pair),
                .stride = a_.per_query_head ? a_.keys.columns() : longest_});
  }

  void reduce(int64_t first, int64_t pair) const noexcept {
    group_keys(scores(first, pair), static_cast<int>(group_), longest_, kv(pair).length,
               a_.keys.f32() + pair * a_.keys.columns());
  }

  const ScoreKeysArgs& a_;
  int64_t kv_heads_, group_, pairs_, batch_, longest_;
  int dims_;
  float* q_;                 // [N, H, dims], scaled
  float* scores_ = nullptr;  // [batch, G, longest]
};

}  // namespace

void score_keys(const Context& context, const ScoreKeysArgs& a) {
  check(a);
  if (a.kv.empty()) return;
  Scratch::Frame frame(context.scratch);
  Plan(a, frame).run(context.threads);
}

}  // namespace lowkey
