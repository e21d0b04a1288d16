// As max(q min, q max) = min(q, 0) min + max(q, 0) max, the score of a block is a dot product of its row in the plane
// with the two parts of the query side by side: the kernel of score_keys, on rows of 2 D.
#include "ops/score_bounds.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"
#include "ops/check_bounds.h"
#include "ops/cpu/bound_rows.h"
#include "ops/cpu/score_pairs.h"
#include "ops/cpu/score_rows.h"
#include "ops/group_keys.h"

namespace lowkey {
namespace {

void check(const ScoreBoundsArgs& a) {
  LK_REQUIRE(a.q.rank == 3 && a.q.dtype == DType::kF32 && a.q.dim(0) == static_cast<int64_t>(a.kv.size()),
             kInvalidArgument, "[score_bounds] q={}, must be f32 [{}, H, D]", a.q.describe(), a.kv.size());
  LK_REQUIRE(a.keys.rank == 3 && a.keys.dtype == DType::kF32 && a.keys.dim(0) == a.q.dim(0), kInvalidArgument,
             "[score_bounds] keys={}, must be f32 [{}, KH, S]", a.keys.describe(), a.q.dim(0));
  for (const KvPages& kv : a.kv) {
    check_bounds("score_bounds", a.bounds, kv);
    LK_REQUIRE(kv.head_dim == a.q.dim(2) && a.q.dim(1) % kv.kv_heads == 0 && kv.kv_heads == a.kv[0].kv_heads &&
                   kv.dtype == a.kv[0].dtype,
               kInvalidArgument, "[score_bounds] q={} against {} KV heads of {}", a.q.describe(), kv.kv_heads,
               kv.head_dim);
    LK_REQUIRE(a.keys.dim(1) == kv.kv_heads && a.keys.dim(2) >= a.bounds.blocks(kv.length), kInvalidArgument,
               "[score_bounds] keys={} for {} blocks", a.keys.describe(), a.bounds.blocks(kv.length));
  }
}

// [N, H, 2 D]: min(x, 0), max(x, 0) with x = scale log2(e) q.
const float* split_queries(const ScoreBoundsArgs& a, Scratch::Frame& frame) {
  const int64_t rows = a.q.rows(), dim = a.q.columns();
  auto* parts = frame.take<float>(2 * rows * dim);
  const float scale = a.scale * std::numbers::log2e_v<float>;
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t i = 0; i < dim; ++i) {
      const float x = a.q.f32_row(row)[i] * scale;
      parts[2 * row * dim + i] = std::min(x, 0.f), parts[(2 * row + 1) * dim + i] = std::max(x, 0.f);
    }
  }
  return parts;
}

}  // namespace

void score_bounds(const Context& context, const ScoreBoundsArgs& a) {
  check(a);
  if (a.kv.empty()) return;
  const int64_t kv_heads = a.kv[0].kv_heads, group = a.q.dim(1) / kv_heads, block = a.bounds.block_tokens;
  Scratch::Frame frame(context.scratch);
  const float* q = split_queries(a, frame);
  const auto blocks = [&](int64_t pair) { return a.bounds.blocks(a.kv[static_cast<size_t>(pair / kv_heads)].length); };
  int64_t longest = 0;
  for (const KvPages& kv : a.kv) longest = std::max(longest, a.bounds.blocks(kv.length));

  // Rows of the blocks that are not complete.
  const int64_t bytes = a.kv[0].token_bytes();
  auto* partial = frame.take<std::byte>(a.q.dim(0) * kv_heads * bytes);
  context.threads.dynamic(a.q.dim(0) * kv_heads, [&](int64_t pair, int) {
    const KvPages& kv = a.kv[static_cast<size_t>(pair / kv_heads)];
    const int64_t begin = kv.length / block * block;
    if (begin < kv.length) bound_rows(kv, static_cast<int>(pair % kv_heads), begin, kv.length, partial + pair * bytes);
  });

  const auto score = [&](int64_t pair, int64_t begin, int64_t end, float* scores, int64_t stride) {
    const KvPages& kv = a.kv[static_cast<size_t>(pair / kv_heads)];
    const KvPages rows = a.bounds.rows(kv);
    ScoreRows args{.kv = &rows,
                   .head = static_cast<int>(pair % kv_heads),
                   .ids = nullptr,
                   .begin = begin,
                   .end = std::min(end, rows.length),
                   .q = q + pair * group * 2 * kv.head_dim,
                   .heads = static_cast<int>(group),
                   .dims = 2 * kv.head_dim,
                   .scores = scores,
                   .stride = stride};
    if (args.begin < args.end) score_rows(args);
    if (end <= rows.length) return;
    constexpr int32_t kFirst = 0;
    KvPages last = rows;  // one row
    last.base = partial + pair * bytes, last.head_stride = 0, last.table = &kFirst;
    args.kv = &last, args.begin = 0, args.end = 1, args.scores += rows.length;
    score_rows(args);
    const float smaller = std::log2(static_cast<float>(kv.length % block) / static_cast<float>(block));
    for (int64_t h = 0; h < group; ++h) args.scores[h * stride] += smaller;
  };
  score_pairs(
      context,
      {.rows = a.q.dim(0), .kv_heads = kv_heads, .group = group, .longest = longest, .keys = a.keys, .reduced = true},
      blocks, score, [&](int64_t pair, const float* scores, int64_t stride) {
        group_keys(scores, static_cast<int>(group), stride, blocks(pair), a.keys.f32() + pair * a.keys.columns());
      });
}

}  // namespace lowkey
