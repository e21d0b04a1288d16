#include "ops/score_keys.h"

#include <numbers>
#include <vector>

#include "ops/group_keys.h"
#include "ops/ref/kv_value.h"

namespace lowkey::ref {

void score_keys(const ScoreKeysArgs& a) noexcept {
  const int64_t heads = a.q.dim(1), stride = a.keys.columns();
  for (int64_t n = 0; n < a.q.dim(0); ++n) {
    const KvPages& kv = a.kv[static_cast<size_t>(n)];
    const int64_t group = heads / kv.kv_heads;
    std::vector<float> scores(static_cast<size_t>(group * kv.length));
    for (int64_t h = 0; h < heads; ++h) {
      const float* q = a.q.f32_row(n * heads + h);
      float* row = a.per_query_head ? a.keys.f32_row(n * heads + h) : scores.data() + h % group * kv.length;
      for (int64_t t = 0; t < kv.length; ++t) {
        double dot = 0;
        for (int i = 0; i < a.dims; ++i)
          dot += double{q[i]} * kv_value(kv.dtype, kv.token(static_cast<int>(h / group), t), i);
        row[t] = static_cast<float>(dot * a.scale * std::numbers::log2e);
      }
      if (!a.per_query_head && h % group == group - 1)
        group_keys(scores.data(), static_cast<int>(group), kv.length, kv.length,
                   a.keys.f32() + (n * kv.kv_heads + h / group) * stride);
    }
  }
}

}  // namespace lowkey::ref
