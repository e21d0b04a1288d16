#include "ops/score_keys.h"

#include <algorithm>
#include <numbers>

#include "base/error.h"
#include "ops/check_kv.h"
#include "ops/cpu/score_pairs.h"
#include "ops/cpu/score_rows.h"
#include "ops/group_keys.h"

namespace lowkey {
namespace {

void check(const ScoreKeysArgs& a) {
  LK_REQUIRE(a.q.rank == 3 && a.q.dtype == DType::kF32 && a.q.dim(0) == static_cast<int64_t>(a.kv.size()),
             kInvalidArgument, "[score_keys] q={}, must be f32 [{}, H, D]", a.q.describe(), a.kv.size());
  LK_REQUIRE(a.dims >= 1 && a.dims <= a.q.dim(2), kInvalidArgument, "[score_keys] dims={}, must be 1 to {}", a.dims,
             a.q.dim(2));
  LK_REQUIRE(a.keys.rank == 3 && a.keys.dtype == DType::kF32 && a.keys.dim(0) == a.q.dim(0), kInvalidArgument,
             "[score_keys] keys={}, must be f32 [{}, heads, S]", a.keys.describe(), a.q.dim(0));
  LK_REQUIRE(a.tokens.empty() || a.tokens.size() == a.kv.size() * static_cast<size_t>(a.kv[0].kv_heads),
             kInvalidArgument, "[score_keys] {} token lists for {} rows", a.tokens.size(), a.kv.size());
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

// [N, H, dims], times scale log2(e), with zeros past the coordinates that are used.
const float* scaled_queries(const ScoreKeysArgs& a, int dims, Scratch::Frame& frame) {
  auto* q = frame.take<float>(a.q.rows() * dims);
  const float scale = a.scale * std::numbers::log2e_v<float>;
  for (int64_t row = 0; row < a.q.rows(); ++row)
    for (int i = 0; i < dims; ++i) q[row * dims + i] = i < a.dims ? a.q.f32_row(row)[i] * scale : 0.f;
  return q;
}

}  // namespace

void score_keys(const Context& context, const ScoreKeysArgs& a) {
  check(a);
  if (a.kv.empty()) return;
  const int64_t kv_heads = a.kv[0].kv_heads, group = a.q.dim(1) / kv_heads;
  const int dims = (a.dims + 7) / 8 * 8;  // a key has a multiple of 8 coordinates
  Scratch::Frame frame(context.scratch);
  const float* q = scaled_queries(a, dims, frame);
  const auto list = [&](int64_t pair) { return a.tokens.empty() ? TokenList{} : a.tokens[static_cast<size_t>(pair)]; };
  const auto length = [&](int64_t pair) {
    return list(pair).ids ? list(pair).count : a.kv[static_cast<size_t>(pair / kv_heads)].length;
  };
  int64_t longest = 1;
  for (const KvPages& kv : a.kv) longest = std::max(longest, kv.length);
  const auto score = [&](int64_t pair, int64_t begin, int64_t end, float* scores, int64_t stride) {
    score_rows({.kv = &a.kv[static_cast<size_t>(pair / kv_heads)],
                .head = static_cast<int>(pair % kv_heads),
                .ids = list(pair).ids,
                .begin = begin,
                .end = end,
                .q = q + pair * group * dims,
                .heads = static_cast<int>(group),
                .dims = dims,
                .scores = scores,
                .stride = stride});
  };
  score_pairs(context,
              {.rows = a.q.dim(0),
               .kv_heads = kv_heads,
               .group = group,
               .longest = longest,
               .keys = a.keys,
               .reduced = !a.per_query_head},
              length, score, [&](int64_t pair, const float* scores, int64_t stride) {
                group_keys(scores, static_cast<int>(group), stride, length(pair),
                           a.keys.f32() + pair * a.keys.columns());
              });
}

}  // namespace lowkey
