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
      const TokenList list =
          a.tokens.empty() ? TokenList{} : a.tokens[static_cast<size_t>(n * kv.kv_heads + h / group)];
      const int64_t count = list.ids ? list.count : kv.length;
      for (int64_t i = 0; i < count; ++i) {
        const int64_t t = list.ids ? list.ids[i] : i;
        double dot = 0;
        for (int d = 0; d < a.dims; ++d)
          dot += double{q[d]} * kv_value(kv, kv.token(static_cast<int>(h / group), t), d);
        row[i] = static_cast<float>(dot * a.scale * std::numbers::log2e);
      }
      if (!a.per_query_head && h % group == group - 1)
        group_keys(scores.data(), static_cast<int>(group), kv.length, count,
                   a.keys.f32() + (n * kv.kv_heads + h / group) * stride);
    }
  }
}

}  // namespace lowkey::ref
