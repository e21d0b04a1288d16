#include "ops/score_bounds.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "ops/group_keys.h"
#include "ops/ref/kv_value.h"

namespace lowkey::ref {
namespace {

// sum_j max(q_j min_j, q_j max_j) over tokens [begin, end): with one coordinate, the greatest of q_j k_j.
double bound(const KvPages& kv, int head, int64_t begin, int64_t end, const float* q) noexcept {
  double sum = 0;
  for (int i = 0; i < kv.head_dim; ++i) {
    double most = double{q[i]} * kv_value(kv.dtype, kv.token(head, begin), i);
    for (int64_t t = begin + 1; t < end; ++t)
      most = std::max(most, double{q[i]} * kv_value(kv.dtype, kv.token(head, t), i));
    sum += most;
  }
  return sum;
}

}  // namespace

void score_bounds(const ScoreBoundsArgs& a) noexcept {
  const int64_t heads = a.q.dim(1), block = a.bounds.block_tokens;
  for (int64_t n = 0; n < a.q.dim(0); ++n) {
    const KvPages& kv = a.kv[static_cast<size_t>(n)];
    const int64_t group = heads / kv.kv_heads, blocks = a.bounds.blocks(kv.length);
    std::vector<float> scores(static_cast<size_t>(group * blocks));
    for (int64_t h = 0; h < heads; ++h) {
      const int head = static_cast<int>(h / group);
      for (int64_t b = 0; b < blocks; ++b) {
        const int64_t begin = b * block, end = std::min(begin + block, kv.length);
        const double score = bound(kv, head, begin, end, a.q.f32_row(n * heads + h)) * a.scale * std::numbers::log2e;
        scores[static_cast<size_t>(h % group * blocks + b)] =
            static_cast<float>(score + std::log2(static_cast<double>(end - begin) / static_cast<double>(block)));
      }
      if (h % group == group - 1)
        group_keys(scores.data(), static_cast<int>(group), blocks, blocks,
                   a.keys.f32() + (n * kv.kv_heads + head) * a.keys.columns());
    }
  }
}

}  // namespace lowkey::ref
