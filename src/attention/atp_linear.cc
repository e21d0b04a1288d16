#include "attention/atp_linear.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "attention/cache_columns.h"
#include "attention/lone_contexts.h"
#include "ops/attention_prefill.h"
#include "ops/matmul.h"
#include "ops/transpose.h"

namespace lowkey {
namespace {

constexpr int64_t kTokensTogether = 1024;  // shortened
constexpr int64_t kRowsTogether = 256;     // reading

// Of one KV head: in the only plane, at a sequence's first page.
struct Moments {
  float* k;           // [D] mean
  float* v;           // [D] mean
  float* covariance;  // [D, D] of k (rows) and v

  Moments(const KvPages& kv, int head)
      : k(reinterpret_cast<float*>(kv.plane_page(0, head, 0))), v(k + kv.head_dim), covariance(v + kv.head_dim) {}
  static int64_t floats(int64_t dim) { return dim * (dim + 2); }
};

// The means of rows [N, n], taken off them.
void centre(View rows, float* means) {
  for (int64_t d = 0; d < rows.rows(); ++d) {
    float* row = rows.f32_row(d);
    double sum = 0;
    for (int64_t i = 0; i < rows.columns(); ++i) sum += row[i];
    means[d] = static_cast<float>(sum / static_cast<double>(rows.columns()));
    for (int64_t i = 0; i < rows.columns(); ++i) row[i] -= means[d];
  }
}

// `count` tokens more join `old` ones: their means [2 D], and the sums of products of k and v about them [D, D].
void join(const Moments& m, int64_t dim, int64_t old, int64_t count, const float* means, View products) {
  const auto share = static_cast<float>(static_cast<double>(count) / static_cast<double>(old + count));  // of the new
  if (old == 0) std::fill_n(m.k, Moments::floats(dim), 0.f);
  for (int64_t i = 0; i < dim; ++i)
    for (int64_t j = 0; j < dim; ++j)
      m.covariance[i * dim + j] = (1 - share) * m.covariance[i * dim + j] +
                                  share * products.f32_row(i)[j] / static_cast<float>(count) +
                                  share * (1 - share) * (means[i] - m.k[i]) * (means[dim + j] - m.v[j]);
  for (int64_t d = 0; d < 2 * dim; ++d) m.k[d] += share * (means[d] - m.k[d]);  // v follows k
}

// What is read of the old tokens.
struct OldTokens {
  const KvPages& kv;
  float log2_count, scale;
  View log2_sums;  // [T, H] of the exact tokens; none: there are none
};
struct HeadRows {
  int64_t head, begin, end;
};

// What some rows of a head read of the old tokens joins what they have read of the exact ones. q, out: [T, H, D]
void add_old(const Context& context, const OldTokens& old, View q, View out, const HeadRows& rows) {
  constexpr float kLog2E = 1.44269504f;
  const int64_t heads = q.dim(1), dim = q.dim(2), count = rows.end - rows.begin;
  const Moments m(old.kv, static_cast<int>(rows.head / (heads / old.kv.kv_heads)));
  Scratch::Frame frame(context.scratch);
  const View asking = frame.take_f32({count, dim}), turned = frame.take_f32({count, dim});
  const View across = frame.take_f32({dim, dim});
  const auto place = [&](int64_t i) { return (rows.begin + i) * heads + rows.head; };  // among rows of D
  for (int64_t i = 0; i < count; ++i) std::copy_n(q.f32() + place(i) * dim, dim, asking.f32_row(i));
  transpose(context, {f32_view(m.covariance, {dim, dim}), across});
  matmul(context, {asking, across, turned});
  for (int64_t i = 0; i < count; ++i) {
    float *result = out.f32() + place(i) * dim, score = 0;
    for (int64_t d = 0; d < dim; ++d) score += asking.f32_row(i)[d] * m.k[d];
    const float log2_old = old.log2_count + kLog2E * old.scale * score;
    const float share = old.log2_sums ? 1 / (1 + std::exp2(old.log2_sums.f32()[place(i)] - log2_old)) : 1;
    for (int64_t d = 0; d < dim; ++d)
      result[d] = (old.log2_sums ? (1 - share) * result[d] : 0.f) + share * (m.v[d] + old.scale * turned.f32_row(i)[d]);
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
  const LoneContexts lone(step.context, 2 * dim * std::min(kTokensTogether, count) + dim * dim + 2 * dim);
  step.context.threads.dynamic(kv.kv_heads, [&](int64_t head, int thread) {
    const Context& context = lone[thread];
    for (int64_t done = 0, some; done < count; done += some) {
      some = std::min(kTokensTogether, count - done);
      Scratch::Frame frame(context.scratch);
      const View columns = frame.take_f32({2 * dim, some}), products = frame.take_f32({dim, dim});
      float* means = frame.take<float>(2 * dim);
      // They follow the first tokens, as older ones are gone.
      cache_columns(context, {.kv = kv, .first_head = static_cast<int>(head), .begin = sink + done, .out = columns});
      centre(columns, means);
      matmul(context, {columns.slice_rows(0, dim), columns.slice_rows(dim, 2 * dim), products});
      join(Moments(kv, static_cast<int>(head)), dim, old + done, some, means, products);
    }
  });
  close_rows(step, kv, sink + count, sink, what.tokens - old);
}

void AtpLinear::read(const LayerStep& step, const Piece& piece) const {
  if (piece.shortened == 0) return Atp::read(step, piece);
  const int64_t count = piece.q.dim(0), heads = step.shape.heads;
  const float scale = step.shape.scale();
  Scratch::Frame frame(step.context.scratch);
  const View sums = frame.take_f32({count, heads});
  if (piece.kv.length > 0)
    attention_prefill(step.context, {.q = piece.q,
                                     .kv = piece.kv,
                                     .scale = scale,
                                     .out = piece.out,
                                     .causal = step.shape.causal,
                                     .log2_sums = sums});
  const int64_t dim = step.shape.head_dim;
  const LoneContexts lone(step.context, 2 * dim * std::min(kRowsTogether, count) + dim * dim);
  const int64_t blocks = (count + kRowsTogether - 1) / kRowsTogether;
  step.context.threads.dynamic(blocks * heads, [&](int64_t i, int thread) {
    const int64_t begin = i / heads * kRowsTogether, end = std::min(begin + kRowsTogether, count);
    const OldTokens old{.kv = piece.kv,
                        .log2_count = std::log2(static_cast<float>(removed(piece.shortened))),
                        .scale = scale,
                        .log2_sums = piece.kv.length > 0 ? sums : View{}};
    add_old(lone[thread], old, piece.q, piece.out, {.head = i % heads, .begin = begin, .end = end});
  });
}

}  // namespace lowkey
