#include "ops/attention_decode.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "ops/ref/kv_value.h"

namespace lowkey::ref {
namespace {

// q: [D]; out: [D].
void attend(const AttentionDecodeArgs& a, const KvPages& kv, int head, TokenList list, const float* q,
            float* out) noexcept {
  const int64_t dim = kv.head_dim, seen = a.window > 0 ? std::min(a.window, kv.length) : kv.length;
  const int64_t count = list.ids ? list.count : seen;
  const auto row = [&](int64_t i) { return kv.token(head, list.ids ? list.ids[i] : kv.length - seen + i); };
  std::vector<double> weight(static_cast<size_t>(count)), sum(static_cast<size_t>(dim));
  for (int64_t i = 0; i < count; ++i) {
    double dot = 0;
    for (int64_t d = 0; d < dim; ++d) dot += double{q[d]} * kv_value(kv, row(i), d);
    const double score = dot * a.scale;
    weight[static_cast<size_t>(i)] = a.cap > 0 ? a.cap * std::tanh(score / a.cap) : score;
  }
  const double max = *std::max_element(weight.begin(), weight.end());
  double total = 0;
  for (double& w : weight) total += w = std::exp(w - max);
  for (int64_t i = 0; i < count; ++i)
    for (int64_t d = 0; d < dim; ++d)
      sum[static_cast<size_t>(d)] += weight[static_cast<size_t>(i)] * kv_value(kv, row(i), dim + d);
  for (int64_t d = 0; d < dim; ++d) out[d] = static_cast<float>(sum[static_cast<size_t>(d)] / total);
}

}  // namespace

void attention_decode(const AttentionDecodeArgs& a) noexcept {
  const int64_t heads = a.q.dim(1);
  for (size_t b = 0; b < a.kv.size(); ++b) {
    const KvPages& kv = a.kv[b];
    for (int64_t h = 0; h < heads; ++h) {
      const auto kv_head = static_cast<int>(h / (heads / kv.kv_heads));
      const int64_t row = static_cast<int64_t>(b) * heads + h;
      const auto lists_per_row = static_cast<int64_t>(a.tokens.size() / a.kv.size());
      const TokenList list =
          a.tokens.empty() ? TokenList{} : a.tokens[static_cast<size_t>(row * lists_per_row / heads)];
      attend(a, kv, kv_head, list, a.q.f32_row(row), a.out.f32_row(row));
    }
  }
}

}  // namespace lowkey::ref
