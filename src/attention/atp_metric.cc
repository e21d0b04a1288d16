#include "attention/atp_metric.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "linalg/basis.h"
#include "ops/matmul.h"
#include "ops/quantize.h"

namespace lowkey {
namespace {

constexpr double kLeast = 1e-4;     // of a block's mean eigenvalue: smaller ones are raised to it
constexpr double kKeysShare = 0.5;  // of what follows for keys from values about their mean: measured, see atp.md
constexpr int64_t kColumnsAtATime = 512;
using Moment = std::vector<double>;  // [D, D]

// moment += share * x x^T, x: [D, n] f32.
void add_products(const Context& context, View x, double share, Moment& moment) {
  Scratch::Frame frame(context.scratch);
  const View products = frame.take_f32({x.rows(), x.rows()});
  matmul(context, {x, x, products});
  for (size_t i = 0; i < moment.size(); ++i) moment[i] += share * products.f32()[i];
}

// The mean square of an input, as far as keys show it: |k|^2 over |Wk|^2, of inputs alike in all directions.
double input_size(const LayerStep& step, View y) {
  Scratch::Frame frame(step.context.scratch);
  const View w = frame.take_f32({step.projections.k.rows(), step.projections.k.columns()});
  dequantize(step.context, {step.projections.k, w});
  double keys = 0, weights = 0;
  for (int64_t t = 0; t < y.rows(); ++t)
    for (int64_t i = 0; i < w.rows(); ++i) keys += double{y.f32_row(t)[i]} * y.f32_row(t)[i];
  for (int64_t i = 0; i < w.elements(); ++i) weights += double{w.f32()[i]} * w.f32()[i];
  return weights > 0 ? keys / static_cast<double>(y.rows()) / weights : 1;
}

// Wq Wq^T of each KV head, its group's mean: [KH]. The two numbers of a rotary pair get the same, and nothing is said
// of pairs together.
std::vector<Moment> query_moments(const LayerStep& step) {
  const int64_t dim = step.shape.head_dim, group = step.shape.heads / step.shape.kv_heads, width = step.shape.width;
  std::vector<Moment> moments;
  for (int64_t head = 0; head < step.shape.kv_heads; ++head) {
    Moment& m = moments.emplace_back(static_cast<size_t>(dim * dim), 0.0);
    for (int64_t h = head * group; h < (head + 1) * group; ++h) {
      Scratch::Frame frame(step.context.scratch);
      const View rows = frame.take_f32({dim, width});
      dequantize(step.context, {step.projections.q.slice_rows(h * dim, (h + 1) * dim), rows});
      add_products(step.context, rows, 1.0 / static_cast<double>(group), m);
    }
    if (!step.inverse_frequency) continue;
    Moment pairs(m.size(), 0.0);
    for (int64_t i = 0; i < dim / 2; ++i) {
      const bool half = step.rope_layout == RopeLayout::kHalf;
      const int64_t a = half ? i : 2 * i, b = half ? i + dim / 2 : 2 * i + 1;
      const double mean = (m[static_cast<size_t>(a * dim + a)] + m[static_cast<size_t>(b * dim + b)]) / 2;
      pairs[static_cast<size_t>(a * dim + a)] = pairs[static_cast<size_t>(b * dim + b)] = mean;
    }
    m = std::move(pairs);
  }
  return moments;
}

// Wo^T Wo of each KV head, its group's mean: [KH].
std::vector<Moment> output_moments(const LayerStep& step) {
  const int64_t dim = step.shape.head_dim, heads = step.shape.heads, group = heads / step.shape.kv_heads;
  const View output = step.projections.output;
  std::vector<Moment> moments(static_cast<size_t>(step.shape.kv_heads), Moment(static_cast<size_t>(dim * dim), 0.0));
  for (int64_t from = 0; from < output.rows(); from += kColumnsAtATime) {
    const int64_t n = std::min(kColumnsAtATime, output.rows() - from);
    Scratch::Frame frame(step.context.scratch);
    const View rows = frame.take_f32({n, heads * dim}), across = frame.take_f32({heads * dim, n});
    dequantize(step.context, {output.slice_rows(from, from + n), rows});
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < heads * dim; ++j) across.f32_row(j)[i] = rows.f32_row(i)[j];
    for (int64_t h = 0; h < heads; ++h)
      add_products(step.context, across.slice_rows(h * dim, (h + 1) * dim), 1.0 / static_cast<double>(group),
                   moments[static_cast<size_t>(h / group)]);
  }
  return moments;
}

// Of one block of y - mean: [D, n].
View centred_across(Scratch::Frame& frame, View y, const float* mean, int64_t block, int64_t dim) {
  const View across = frame.take_f32({dim, y.rows()});
  for (int64_t t = 0; t < y.rows(); ++t)
    for (int64_t i = 0; i < dim; ++i) across.f32_row(i)[t] = y.f32_row(t)[block + i] - mean[block + i];
  return across;
}

double trace_of_product(const Moment& a, const Moment& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

// M's blocks, in y's order: their roots, and |root (y - mean)|^2 made N.
MetricRoots roots(const LayerStep& step, const std::vector<Moment>& blocks, View y, const float* mean) {
  const int64_t dim = step.shape.head_dim, numbers = y.columns();
  MetricRoots out{std::vector<float>(static_cast<size_t>(dim * numbers)),
                  std::vector<float>(static_cast<size_t>(dim * numbers))};
  std::vector<Basis> axes;
  double cost = 0;
  for (size_t b = 0; b < blocks.size(); ++b) {
    Scratch::Frame frame(step.context.scratch);
    Moment covariance(blocks[b].size(), 0.0);
    add_products(step.context, centred_across(frame, y, mean, static_cast<int64_t>(b) * dim, dim),
                 1.0 / static_cast<double>(y.rows()), covariance);
    cost += trace_of_product(covariance, blocks[b]);
    axes.push_back(pca(blocks[b]));
  }
  const double scale = cost > 0 ? static_cast<double>(numbers) / cost : 1;
  for (size_t b = 0; b < blocks.size(); ++b) {
    const std::vector<double>& values = axes[b].spectrum;
    const double mean_value = std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(dim);
    const double least = std::max(kLeast * mean_value, std::numeric_limits<float>::min() * 1.0);
    for (int64_t e = 0; e < dim; ++e) {
      const double* axis = axes[b].key.data() + e * dim;
      const double root = std::sqrt(scale * std::max(values[static_cast<size_t>(e)], least));
      for (int64_t i = 0; i < dim; ++i)
        for (int64_t j = 0; j < dim; ++j) {
          const auto at = static_cast<size_t>(i * numbers + static_cast<int64_t>(b) * dim + j);
          out.root[at] += static_cast<float>(root * axis[i] * axis[j]);
          out.inverse[at] += static_cast<float>(axis[i] * axis[j] / root);
        }
    }
  }
  return out;
}

}  // namespace

MetricRoots output_metric(const LayerStep& step, View y, const float* mean) {
  if (!step.projections.output) return equal_metric(step, y, mean);
  const int64_t dim = step.shape.head_dim, heads = step.shape.kv_heads;
  std::vector<Moment> blocks = query_moments(step);
  const std::vector<Moment> values = output_moments(step);
  const double size = input_size(step, y);
  for (int64_t h = 0; h < heads; ++h) {
    Scratch::Frame frame(step.context.scratch);
    Moment covariance(static_cast<size_t>(dim * dim), 0.0);
    add_products(step.context, centred_across(frame, y, mean, (heads + h) * dim, dim),
                 1.0 / static_cast<double>(y.rows()), covariance);
    const double moved =
        kKeysShare * size * trace_of_product(covariance, values[static_cast<size_t>(h)]) / static_cast<double>(dim);
    for (double& m : blocks[static_cast<size_t>(h)]) m *= moved;
  }
  blocks.insert(blocks.end(), values.begin(), values.end());
  return roots(step, blocks, y, mean);
}

MetricRoots equal_metric(const LayerStep& step, View y, const float* mean) {
  const int64_t dim = step.shape.head_dim;
  Moment one(static_cast<size_t>(dim * dim), 0.0);
  for (int64_t i = 0; i < dim; ++i) one[static_cast<size_t>(i * dim + i)] = 1;
  return roots(step, std::vector<Moment>(static_cast<size_t>(2 * step.shape.kv_heads), one), y, mean);
}

}  // namespace lowkey
