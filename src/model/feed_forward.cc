#include "model/feed_forward.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "ops/add.h"
#include "ops/gelu.h"
#include "ops/matmul.h"
#include "ops/swiglu.h"

namespace lowkey {

void FeedForward::apply(const Context& context, View x, View out) const {
  Scratch::Frame frame(context.scratch);
  const int64_t inner = up.weight.rows();
  const View raised = frame.take_f32({x.rows(), inner});
  if (!gate.weight) {
    up.apply(context, x, raised);
    gelu(context, {.x = raised, .out = raised, .tanh = activation == Activation::kGeluTanh});
    return down.apply(context, raised, out);
  }
  const View gated = frame.take_f32({x.rows(), inner});
  const MatmulPart parts[] = {{gate.weight, gated}, {up.weight, raised}};
  matmul_parts(context, x, parts, 2);
  if (!gate.bias.empty()) add(context, {gated, vector_view(gate.bias)});
  if (!up.bias.empty()) add(context, {raised, vector_view(up.bias)});
  if (activation == Activation::kSilu) {
    swiglu(context, {gated, raised, gated});
  } else {
    gelu(context, {.x = gated, .out = gated, .tanh = activation == Activation::kGeluTanh, .up = raised});
  }
  down.apply(context, gated, out);
}

void route(View scores, int used, bool sum_to_one, Route* routes) noexcept {
  const auto experts = static_cast<int32_t>(scores.columns());
  for (int64_t t = 0; t < scores.rows(); ++t, routes += used) {
    const float* score = scores.f32_row(t);
    float total = 0;
    for (int n = 0; n < used; ++n) {
      const auto taken = [&](int32_t e) {
        return std::any_of(routes, routes + n, [e](const Route& r) { return r.expert == e; });
      };
      int32_t best = -1;
      for (int32_t e = 0; e < experts; ++e)
        if (!taken(e) && (best < 0 || score[e] > score[best])) best = e;
      const float highest = n == 0 ? score[best] : score[routes[0].expert];
      routes[n] = {best, std::exp(score[best] - highest)};
      total += routes[n].weight;
    }
    if (!sum_to_one) {
      const float highest = score[routes[0].expert];
      total =
          std::accumulate(score, score + experts, 0.f, [=](float sum, float s) { return sum + std::exp(s - highest); });
    }
    for (int n = 0; n < used; ++n) routes[n].weight /= total;
  }
}

void Mixture::apply(const Context& context, View x, View out) const {
  const int64_t tokens = x.rows(), width = x.columns();
  Scratch::Frame frame(context.scratch);
  const View scores = frame.take_f32({tokens, router.rows()});
  matmul(context, {x, router, scores});
  auto* routes = frame.take<Route>(tokens * used);
  route(scores, used, sum_to_one, routes);
  std::fill_n(out.f32(), out.elements(), 0.f);
  auto* rows = frame.take<int64_t>(tokens * used);  // places in routes
  for (size_t e = 0; e < experts.size(); ++e) {
    int64_t count = 0;
    for (int64_t i = 0; i < tokens * used; ++i)
      if (routes[i].expert == static_cast<int32_t>(e)) rows[count++] = i;
    if (count == 0) continue;
    Scratch::Frame part(context.scratch);
    const View own = part.take_f32({count, width}), given = part.take_f32({count, width});
    for (int64_t i = 0; i < count; ++i) std::copy_n(x.f32_row(rows[i] / used), width, own.f32_row(i));
    experts[e].apply(context, own, given);
    for (int64_t i = 0; i < count; ++i) {
      const float weight = routes[rows[i]].weight;
      float* to = out.f32_row(rows[i] / used);
      for (int64_t c = 0; c < width; ++c) to[c] += weight * given.f32_row(i)[c];
    }
  }
}

}  // namespace lowkey
