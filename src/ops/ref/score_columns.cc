#include "ops/score_columns.h"

#include <algorithm>
#include <numbers>
#include <vector>

#include "ops/choose_columns.h"
#include "ops/group_keys.h"
#include "ops/ref/kv_value.h"

namespace lowkey::ref {

void score_columns(const ScoreColumnsArgs& a) noexcept {
  const int dim = static_cast<int>(a.q.dim(2));
  std::vector<int32_t> columns(static_cast<size_t>(dim));
  std::vector<float> sums(columns.size());
  for (int64_t n = 0; n < a.q.dim(0); ++n) {
    const KvPages& kv = a.kv[static_cast<size_t>(n)];
    const int group = static_cast<int>(a.q.dim(1)) / kv.kv_heads;
    for (int head = 0; head < kv.kv_heads; ++head) {
      const float* q = a.q.f32_row((n * kv.kv_heads + head) * group);
      float* keys = a.keys.f32_row(n * kv.kv_heads + head);
      choose_columns(q, group, dim, a.columns, columns.data(), sums.data());
      std::vector<float> scores(static_cast<size_t>(group * kv.length));
      for (int h = 0; h < group; ++h) {
        const double factor =
            double{a.scale} * std::numbers::log2e * column_temperature(q + h * dim, dim, columns.data(), a.columns);
        for (int64_t t = 0; t < kv.length; ++t) {
          double dot = 0;
          for (int r = 0; r < a.columns; ++r)
            dot += double{q[h * dim + columns[static_cast<size_t>(r)]]} *
                   kv_value(kv.dtype, kv.token(head, t), columns[static_cast<size_t>(r)]);
          scores[static_cast<size_t>(h * kv.length + t)] = static_cast<float>(dot * factor);
        }
      }
      for (int h = 0; a.scores && h < group; ++h)
        std::copy_n(scores.data() + h * kv.length, kv.length, a.scores.f32_row((n * kv.kv_heads + head) * group + h));
      if (!a.raw_sum) {
        group_keys(scores.data(), group, kv.length, kv.length, keys);
        continue;
      }
      for (int64_t t = 0; t < kv.length; ++t) {
        double sum = 0;
        for (int h = 0; h < group; ++h) sum += scores[static_cast<size_t>(h * kv.length + t)];
        keys[t] = static_cast<float>(sum);
      }
    }
  }
}

}  // namespace lowkey::ref
