#include "linalg/cluster_rows.h"

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "ops/matmul.h"

namespace lowkey {
namespace {

double squared_distance(const float* a, const float* b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
  return sum;
}

// The nearest centre of each row; whether any changed.
bool assign(const Context& context, const ClusterRowsArgs& a) {
  const int64_t k = a.centres.rows(), width = a.x.columns();
  Scratch::Frame frame(context.scratch);
  const View products = frame.take_f32({a.x.rows(), k});
  float* half = frame.take<float>(k);  // |c|^2 / 2
  for (int64_t c = 0; c < k; ++c) {
    double sum = 0;
    for (int64_t i = 0; i < width; ++i) sum += double{a.centres.f32_row(c)[i]} * a.centres.f32_row(c)[i];
    half[c] = static_cast<float>(sum / 2);
  }
  matmul(context, {a.x, a.centres, products});
  bool moved = false;
  for (int64_t t = 0; t < a.x.rows(); ++t) {
    int64_t best = 0;
    for (int64_t c = 1; c < k; ++c)
      if (products.f32_row(t)[c] - half[c] > products.f32_row(t)[best] - half[best]) best = c;
    int32_t& code = a.codes[static_cast<size_t>(t)];
    moved |= code != best;
    code = static_cast<int32_t>(best);
  }
  return moved;
}

void fill_empty(const ClusterRowsArgs& a, std::vector<int64_t>& sizes) {
  for (size_t c = 0; c < sizes.size(); ++c) {
    if (sizes[c] > 0) continue;
    size_t farthest = 0;
    double most = -1;
    for (size_t t = 0; t < a.codes.size(); ++t) {
      if (sizes[static_cast<size_t>(a.codes[t])] < 2) continue;
      const double d =
          squared_distance(a.x.f32_row(static_cast<int64_t>(t)), a.centres.f32_row(a.codes[t]), a.x.columns());
      if (d > most) most = d, farthest = t;
    }
    --sizes[static_cast<size_t>(a.codes[farthest])], ++sizes[c];
    a.codes[farthest] = static_cast<int32_t>(c);
  }
}

void move_centres(const ClusterRowsArgs& a) {
  std::vector<int64_t> sizes(static_cast<size_t>(a.centres.rows()));
  for (int32_t code : a.codes) ++sizes[static_cast<size_t>(code)];
  fill_empty(a, sizes);
  std::fill_n(a.centres.f32(), a.centres.elements(), 0.f);
  for (size_t t = 0; t < a.codes.size(); ++t) {
    const float* row = a.x.f32_row(static_cast<int64_t>(t));
    float* centre = a.centres.f32_row(a.codes[t]);
    const float share = 1.f / static_cast<float>(sizes[static_cast<size_t>(a.codes[t])]);
    for (int64_t i = 0; i < a.x.columns(); ++i) centre[i] += share * row[i];
  }
}

}  // namespace

void cluster_rows(const Context& context, const ClusterRowsArgs& a) {
  const int64_t n = a.x.rows(), k = a.centres.rows();
  LK_REQUIRE(a.x.columns() == a.centres.columns() && k >= 1 && k <= n && a.rounds >= 1 &&
                 static_cast<int64_t>(a.codes.size()) == n,
             kInvalidArgument, "[cluster_rows] x {}, centres {}, {} codes, {} rounds", a.x.describe(),
             a.centres.describe(), a.codes.size(), a.rounds);
  for (int64_t c = 0; c < k; ++c) std::copy_n(a.x.f32_row(c * n / k), a.x.columns(), a.centres.f32_row(c));
  std::fill(a.codes.begin(), a.codes.end(), -1);
  for (int round = 0; round < a.rounds && assign(context, a); ++round) move_centres(a);
}

}  // namespace lowkey
