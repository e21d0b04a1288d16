#include "ops/attention_prefill.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "ops/attention_decode.h"
#include "ops/ref/kv_value.h"

namespace lowkey::ref {
namespace {

// log2 of the sum of e^score over all keys of a head. q: [D]
float log2_sum(const KvPages& kv, int head, const float* q, float scale) noexcept {
  std::vector<double> scores(static_cast<size_t>(kv.length));
  for (int64_t i = 0; i < kv.length; ++i) {
    double dot = 0;
    for (int d = 0; d < kv.head_dim; ++d) dot += double{q[d]} * kv_value(kv, kv.token(head, i), d);
    scores[static_cast<size_t>(i)] = dot * scale;
  }
  const double max = *std::max_element(scores.begin(), scores.end());
  double sum = 0;
  for (double score : scores) sum += std::exp(score - max);
  return static_cast<float>(max * std::numbers::log2e + std::log2(sum));
}

}  // namespace

// Row i of a prompt is one decoding step against the tokens up to its own, or against all.
void attention_prefill(const AttentionPrefillArgs& a) noexcept {
  const int64_t tokens = a.q.dim(0), heads = a.q.dim(1), dim = a.q.dim(2);
  for (int64_t t = 0; t < tokens; ++t) {
    KvPages kv = a.kv;
    if (a.causal) kv.length = a.kv.length - tokens + t + 1;
    const View q{a.q.row(t * heads), DType::kF32, {1, heads, dim}};
    const View out{a.out.row(t * heads), DType::kF32, {1, heads, dim}};
    attention_decode(
        {.q = q, .kv = {&kv, 1}, .tokens = {}, .scale = a.scale, .out = out, .window = a.window, .cap = a.cap});
    for (int64_t h = 0; a.log2_sums && h < heads; ++h)
      a.log2_sums.f32_row(t)[h] =
          log2_sum(kv, static_cast<int>(h / (heads / kv.kv_heads)), a.q.f32_row(t * heads + h), a.scale);
  }
}

}  // namespace lowkey::ref
