#include "ops/score_columns.h"

#include <algorithm>
#include <numbers>

#include "base/error.h"
#include "ops/check_columns.h"
#include "ops/choose_columns.h"
#include "ops/cpu/column_scan.h"
#include "ops/cpu/score_pairs.h"
#include "ops/group_keys.h"

namespace lowkey {
namespace {

void check(const ScoreColumnsArgs& a) {
  LK_REQUIRE(a.q.rank == 3 && a.q.dtype == DType::kF32 && a.q.dim(0) == static_cast<int64_t>(a.kv.size()),
             kInvalidArgument, "[score_columns] q={}, must be f32 [{}, H, D]", a.q.describe(), a.kv.size());
  LK_REQUIRE(a.columns >= 1 && a.columns <= a.q.dim(2), kInvalidArgument, "[score_columns] columns={}, must be 1 to {}",
             a.columns, a.q.dim(2));
  LK_REQUIRE(a.keys.rank == 3 && a.keys.dtype == DType::kF32 && a.keys.dim(0) == a.q.dim(0), kInvalidArgument,
             "[score_columns] keys={}, must be f32 [{}, KH, S]", a.keys.describe(), a.q.dim(0));
  LK_REQUIRE(!a.scores || (a.scores.rank == 3 && a.scores.dtype == DType::kF32 && a.scores.dim(0) == a.q.dim(0) &&
                           a.scores.dim(1) == a.q.dim(1) && a.scores.dim(2) == a.keys.dim(2)),
             kInvalidArgument, "[score_columns] scores={}, must be f32 [{}, {}, {}]", a.scores.describe(), a.q.dim(0),
             a.q.dim(1), a.keys.dim(2));
  for (const KvPages& kv : a.kv) {
    check_columns("score_columns", kv, a.plane);
    LK_REQUIRE(kv.head_dim == a.q.dim(2) && a.q.dim(1) % kv.kv_heads == 0 && kv.kv_heads == a.kv[0].kv_heads &&
                   kv.dtype == a.kv[0].dtype,
               kInvalidArgument, "[score_columns] q={} against {} KV heads of {}", a.q.describe(), kv.kv_heads,
               kv.head_dim);
    LK_REQUIRE(a.keys.dim(1) == kv.kv_heads && a.keys.dim(2) >= kv.length, kInvalidArgument,
               "[score_columns] keys={} for {} tokens", a.keys.describe(), kv.length);
  }
}

// What each pair of a row and a KV head reads.
struct Choice {
  int32_t* columns;  // [pairs, D], the first R of each count
  float* q;          // [pairs, R, G], times scale log2(e) and the head's temperature
};

Choice choose(const ScoreColumnsArgs& a, int64_t pairs, int group, Scratch::Frame& frame) {
  const int dim = a.kv[0].head_dim;
  const Choice choice{frame.take<int32_t>(pairs * dim), frame.take<float>(pairs * a.columns * group)};
  auto* sums = frame.take<float>(dim);
  for (int64_t pair = 0; pair < pairs; ++pair) {
    const float* q = a.q.f32() + pair * group * dim;
    int32_t* columns = choice.columns + pair * dim;
    choose_columns(q, group, dim, a.columns, columns, sums);
    for (int h = 0; h < group; ++h) {
      const float factor =
          a.scale * std::numbers::log2e_v<float> * column_temperature(q + h * dim, dim, columns, a.columns);
      for (int r = 0; r < a.columns; ++r)
        choice.q[(pair * a.columns + r) * group + h] = q[h * dim + columns[r]] * factor;
    }
  }
  return choice;
}

}  // namespace

void score_columns(const Context& context, const ScoreColumnsArgs& a) {
  check(a);
  if (a.kv.empty()) return;
  const int64_t kv_heads = a.kv[0].kv_heads, dim = a.q.dim(2);
  const int group = static_cast<int>(a.q.dim(1) / kv_heads);
  Scratch::Frame frame(context.scratch);
  const Choice choice = choose(a, a.q.dim(0) * kv_heads, group, frame);
  const auto kv = [&](int64_t pair) -> const KvPages& { return a.kv[static_cast<size_t>(pair / kv_heads)]; };
  int64_t longest = 1;
  for (const KvPages& pages : a.kv) longest = std::max(longest, pages.length);
  const auto score = [&](int64_t pair, int64_t begin, int64_t end, float* scores, int64_t stride) {
    column_scan({.kv = &kv(pair),
                 .plane = a.plane,
                 .head = static_cast<int>(pair % kv_heads),
                 .begin = begin,
                 .end = end,
                 .columns = choice.columns + pair * dim,
                 .count = a.columns,
                 .q = choice.q + pair * a.columns * group,
                 .heads = group,
                 .scores = scores,
                 .stride = stride});
  };
  const auto reduce = [&](int64_t pair, const float* scores, int64_t stride) {
    float* keys = a.keys.f32() + pair * a.keys.columns();
    if (!a.raw_sum) return group_keys(scores, group, stride, kv(pair).length, keys);
    std::copy_n(scores, kv(pair).length, keys);
    for (int h = 1; h < group; ++h)
      for (int64_t t = 0; t < kv(pair).length; ++t) keys[t] += scores[h * stride + t];
  };
  const auto length = [&](int64_t pair) { return kv(pair).length; };
  ScorePairs work{
      .rows = a.q.dim(0), .kv_heads = kv_heads, .group = group, .longest = longest, .keys = a.keys, .reduced = true};
  if (!a.scores) return score_pairs(context, work, length, score, reduce);
  work.keys = a.scores, work.reduced = false;
  score_pairs(context, work, length, score, reduce);
  context.threads.dynamic(a.q.dim(0) * kv_heads,
                          [&](int64_t pair, int) { reduce(pair, a.scores.f32_row(pair * group), a.scores.columns()); });
}

}  // namespace lowkey
