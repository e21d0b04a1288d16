#include "linalg/rank_one_steps.h"

#include <algorithm>

namespace lowkey {
namespace {

double square(const float* x, int64_t n) noexcept {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += double{x[i]} * x[i];
  return sum;
}

// In eight parts, which the compiler adds side by side.
float dot(const float* a, const float* b, int64_t n) noexcept {
  constexpr int kParts = 8;
  float part[kParts] = {};
  int64_t i = 0;
  for (; i + kParts <= n; i += kParts)
    for (int p = 0; p < kParts; ++p) part[p] += a[i + p] * b[i + p];
  for (; i < n; ++i) part[0] += a[i] * b[i];
  return ((part[0] + part[4]) + (part[1] + part[5])) + ((part[2] + part[6]) + (part[3] + part[7]));
}

// u = R v / |v|^2
void step_u(const Context& context, View r, const float* v, float* u) noexcept {
  constexpr int64_t kGrain = 16;
  const auto scale = static_cast<float>(1 / square(v, r.columns()));
  context.threads.split(r.rows(), kGrain, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) u[t] = scale * dot(r.f32_row(t), v, r.columns());
  });
}

// v = R^T u / |u|^2, each thread some columns.
void step_v(const Context& context, View r, const float* u, float* v) noexcept {
  constexpr int64_t kGrain = 64;
  const auto scale = static_cast<float>(1 / square(u, r.rows()));
  context.threads.split(r.columns(), kGrain, [&](int64_t begin, int64_t end, int) {
    std::fill(v + begin, v + end, 0.f);
    for (int64_t t = 0; t < r.rows(); ++t) {
      const float* row = r.f32_row(t);
      const float weight = scale * u[t];
      for (int64_t c = begin; c < end; ++c) v[c] += weight * row[c];
    }
  });
}

// R -= u v^T
void deflate(const Context& context, View r, const float* u, const float* v) noexcept {
  constexpr int64_t kGrain = 16;
  context.threads.split(r.rows(), kGrain, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t)
      for (int64_t c = 0; c < r.columns(); ++c) r.f32_row(t)[c] -= u[t] * v[c];
  });
}

}  // namespace

const float* longest_row(View x) noexcept {
  int64_t longest = 0;
  double most = 0;
  for (int64_t t = 0; t < x.rows(); ++t)
    if (const double length = square(x.f32_row(t), x.columns()); length > most) longest = t, most = length;
  return x.f32_row(longest);
}

RankOneResult rank_one_steps(const Context& context, const RankOneSteps& a) {
  const View r = a.residual;
  Scratch::Frame frame(context.scratch);
  float* u = frame.take<float>(r.rows());
  RankOneResult result;
  double left = square(r.f32(), r.elements());
  while (result.rows < a.rows.rows() && left > a.nothing) {
    float* v = a.rows.f32_row(result.rows);
    double held = 0;
    for (int turn = 0; turn < a.iterations; ++turn) {
      // A start without any part in what is left would end the search; a row of the residual always has some.
      if (step_u(context, r, v, u); !(square(u, r.rows()) * square(v, r.columns()) > 1e-12 * left)) {
        std::copy_n(longest_row(r), r.columns(), v);
        step_u(context, r, v, u);
      }
      step_v(context, r, u, v);
      ++result.turns;
      const double before = held;
      held = square(u, r.rows()) * square(v, r.columns());  // |u v^T|^2, by which the residual's falls
      if (a.tolerance > 0 && held - before <= a.tolerance * left) break;
    }
    deflate(context, r, u, v);
    left = square(r.f32(), r.elements());
    ++result.rows;
  }
  return result;
}

}  // namespace lowkey
