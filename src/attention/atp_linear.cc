#include "attention/atp_linear.h"

#include <algorithm>
#include <cmath>

#include "ops/matmul.h"
#include "ops/quantize.h"
#include "ops/score_keys.h"

namespace lowkey {
namespace {

// Of one KV head: in the only plane, at a sequence's first page.
struct Moments {
  float* k;           // [D] mean
  float* v;           // [D] mean
  float* covariance;  // [D, D] of k (rows) and v

  Moments(const KvPages& kv, int head)
      : k(reinterpret_cast<float*>(kv.plane_page(0, head, 0))), v(k + kv.head_dim), covariance(v + kv.head_dim) {}
  static int64_t floats(int64_t dim) { return dim * (dim + 2); }
};

// The mean of rows [2 D, n], taken off them.
void centre(View rows, float* mean) {
  for (int64_t d = 0; d < rows.rows(); ++d) {
    double sum = 0;
    for (int64_t i = 0; i < rows.columns(); ++i) sum += rows.f32_row(d)[i];
    mean[d] = static_cast<float>(sum / static_cast<double>(rows.columns()));
    for (int64_t i = 0; i < rows.columns(); ++i) rows.f32_row(d)[i] -= mean[d];
  }
}

}  // namespace

std::vector<int64_t> AtpLinear::planes(const AttentionShape& shape, DType kv_type, int) const {
  require_float_cache("atp", kv_type);
  return {Moments::floats(shape.head_dim) * static_cast<int64_t>(sizeof(float))};
}

void AtpLinear::shorten(const LayerStep& step, const Shorten& what) const {
  const KvPages& kv = what.kv;
  const int64_t dim = kv.head_dim, sink = options().sink;
  const int64_t old = removed(what.begin), count = removed(what.end) - old;
  const auto share = static_cast<float>(static_cast<double>(count) / static_cast<double>(old + count));  // of the new
  Scratch::Frame frame(step.context.scratch);
  const View rows = frame.take_f32({2 * dim, count}), products = frame.take_f32({dim, dim});
  float *row = frame.take<float>(2 * dim), *mean = frame.take<float>(2 * dim);
  for (int head = 0; head < kv.kv_heads; ++head) {
    for (int64_t i = 0; i < count; ++i) {  // they follow the first tokens, as older ones are gone
      dequantize_row(kv.dtype, kv.token(head, sink + i), row, 2 * dim);
      for (int64_t d = 0; d < 2 * dim; ++d) rows.f32_row(d)[i] = row[d];
    }
    centre(rows, mean);
    matmul(step.context, {rows.slice_rows(0, dim), rows.slice_rows(dim, 2 * dim), products});
    const Moments m(kv, head);
    if (old == 0) std::fill_n(m.k, Moments::floats(dim), 0.f);
    for (int64_t i = 0; i < dim; ++i)
      for (int64_t j = 0; j < dim; ++j)
        m.covariance[i * dim + j] = (1 - share) * m.covariance[i * dim + j] +
                                    share * products.f32_row(i)[j] / static_cast<float>(count) +
                                    share * (1 - share) * (mean[i] - m.k[i]) * (mean[dim + j] - m.v[j]);
    for (int64_t d = 0; d < 2 * dim; ++d) m.k[d] += share * (mean[d] - m.k[d]);  // v follows k
  }
  close_rows(step, kv, sink + count, sink, what.tokens - old);
}

void AtpLinear::read(const LayerStep& step, const Piece& piece) const {
  if (piece.kv.length > 0) {
    Atp::read(step, piece);
  } else {
    std::fill_n(piece.out.f32(), piece.out.elements(), 0.f);
  }
  if (piece.shortened == 0) return;
  const int64_t count = piece.q.dim(0), heads = step.shape.heads, dim = step.shape.head_dim;
  const int64_t group = heads / step.shape.kv_heads, longest = std::max<int64_t>(piece.kv.length, 1);
  const float scale = step.shape.scale();
  const double log2_weight = std::log2(static_cast<double>(removed(piece.shortened)));
  constexpr double kLog2E = 1.4426950408889634;
  Scratch::Frame frame(step.context.scratch);
  auto* pages = frame.take<KvPages>(count);
  for (int64_t i = 0; i < count; ++i) pages[i] = piece.kv, pages[i].length -= step.shape.causal ? count - 1 - i : 0;
  const View scores = frame.take_f32({count, heads, longest});  // log2 e * scale * q . k
  if (piece.kv.length > 0)
    score_keys(step.context, {.q = piece.q,
                              .kv = {pages, static_cast<size_t>(count)},
                              .dims = static_cast<int>(dim),
                              .scale = scale,
                              .per_query_head = true,
                              .keys = scores});
  step.context.threads.dynamic(count * heads, [&](int64_t i, int) {
    const Moments m(piece.kv, static_cast<int>(i % heads / group));
    const float *q = piece.q.f32() + i * dim, *score = scores.f32() + i * longest;
    float* out = piece.out.f32() + i * dim;
    double log2_old = 0, sum = 0;
    for (int64_t d = 0; d < dim; ++d) log2_old += double{q[d]} * m.k[d];
    log2_old = log2_weight + kLog2E * scale * log2_old;
    for (int64_t t = 0; t < pages[i / heads].length; ++t) sum += std::exp2(score[t] - log2_old);
    const auto share = static_cast<float>(1 / (1 + sum));  // of the old tokens
    for (int64_t d = 0; d < dim; ++d) out[d] = (1 - share) * out[d] + share * m.v[d];
    for (int64_t k = 0; k < dim; ++k)
      for (int64_t d = 0; d < dim; ++d) out[d] += share * scale * q[k] * m.covariance[k * dim + d];
  });
}

}  // namespace lowkey
