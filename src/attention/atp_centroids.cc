#include "attention/atp_centroids.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "linalg/cluster_rows.h"
#include "ops/matmul.h"
#include "ops/quantize.h"
#include "ops/score_keys.h"

namespace lowkey {
namespace {

constexpr int kWeights = 0;                         // the plane
constexpr int kRounds = 8;                          // of k-means, at most
constexpr int kTurns = 16;                          // of the power iteration for a cluster's direction
constexpr int64_t kScoreFloats = int64_t{8} << 20;  // scores held at a time, unless one row takes more
constexpr double kLn2 = 0.6931471805599453;

float& log2_weight(const KvPages& kv, int head, int64_t row) {
  return reinterpret_cast<float*>(kv.plane_page(kWeights, head, row / kv.page_tokens))[row % kv.page_tokens];
}

// log2 cosh(x ln 2), for scores in units of log2.
float log2_cosh(float x) {
  const double size = std::abs(double{x});
  return static_cast<float>(size + std::log1p(std::exp(-2 * kLn2 * size)) / kLn2 - 1);
}

// The principal axis of the rows of x listed, about their mean: out [C], of the length of their spread along it.
void principal_axis(View x, std::span<const int32_t> rows, const float* mean, float* axis) {
  const int64_t width = x.columns();
  std::vector<double> u(static_cast<size_t>(width)), next(u.size());
  const auto dot = [&](int32_t row) {
    double sum = 0;
    for (int64_t i = 0; i < width; ++i) sum += u[static_cast<size_t>(i)] * (x.f32_row(row)[i] - mean[i]);
    return sum;
  };
  for (int64_t i = 0; i < width; ++i) u[static_cast<size_t>(i)] = x.f32_row(rows[0])[i] - mean[i];
  double spread = 0;
  for (int turn = 0; turn < kTurns; ++turn) {
    std::fill(next.begin(), next.end(), 0.0);
    double size = 0;
    for (double v : u) size += v * v;
    if (size == 0) break;
    for (double& v : u) v /= std::sqrt(size);
    spread = 0;
    for (int32_t row : rows) {
      const double along = dot(row);
      spread += along * along / static_cast<double>(rows.size());
      for (int64_t i = 0; i < width; ++i) next[static_cast<size_t>(i)] += along * (x.f32_row(row)[i] - mean[i]);
    }
    if (turn + 1 < kTurns) u.swap(next);
  }
  for (int64_t i = 0; i < width; ++i) axis[i] = static_cast<float>(std::sqrt(spread) * u[static_cast<size_t>(i)]);
}

}  // namespace

AtpCentroids::AtpCentroids(const AtpOptions& options, bool directions) : Atp(options) {
  LK_REQUIRE(options.rank.energy == 0 && !options.rank.entropy, kInvalidArgument,
             "[atp] form=centroids: r must be a part of the tokens, or a count of clusters for each chunk");
  rows_each_ = directions && 2 * clusters(options.chunk) <= options.chunk ? 2 : 1;
}

int64_t AtpCentroids::clusters(int64_t tokens) const noexcept {
  return std::min(options().rank.amount.of(tokens), tokens);
}

int64_t AtpCentroids::short_rows(int64_t end) const noexcept {
  if (end == 0) return 0;
  const int64_t chunk = options().chunk, old = end - options().sink, rest = old % chunk;
  return rows_each_ * (old / chunk * clusters(chunk) + (rest > 0 ? clusters(rest) : 0));
}

int64_t AtpCentroids::rows(int64_t length, int64_t end) const noexcept {
  return end == 0 ? length : length - (end - options().sink) + short_rows(end);
}

std::vector<int64_t> AtpCentroids::planes(const AttentionShape&, DType kv_type, int page_tokens) const {
  require_float_cache("atp", kv_type);
  return {page_tokens * static_cast<int64_t>(sizeof(float))};
}

void AtpCentroids::shorten(const LayerStep& step, const Shorten& what) const {
  const int64_t sink = options().sink, begin = std::max(what.begin, sink);
  int64_t from = sink + short_rows(what.begin), to = from;
  for (int64_t at = begin, end; at < what.end; at = end) {
    end = std::min(at + options().chunk, what.end);
    for (int head = 0; head < what.kv.kv_heads; ++head) cluster(step, what.kv, head, from, end - at, to);
    from += end - at, to += rows_each_ * clusters(end - at);
  }
  close_rows(step, what.kv, from, to, rows(what.tokens, what.begin));
}

// `count` tokens of a head, from row `from` on, into clusters from row `to` on, which is no later.
void AtpCentroids::cluster(const LayerStep& step, const KvPages& kv, int head, int64_t from, int64_t count,
                           int64_t to) const {
  const int64_t dim = kv.head_dim, k = clusters(count);
  const auto bytes = row_bytes(kv.dtype, dim);
  Scratch::Frame frame(step.context.scratch);
  const View keys = frame.take_f32({count, dim}), values = frame.take_f32({count, dim});
  const View centres = frame.take_f32({k, dim});
  auto *codes = frame.take<int32_t>(count), *members = frame.take<int32_t>(count);
  float *row = frame.take<float>(2 * dim), *direction = frame.take<float>(2 * dim);
  for (int64_t t = 0; t < count; ++t) {
    dequantize_row(kv.dtype, kv.token(head, from + t), keys.f32_row(t), dim);
    dequantize_row(kv.dtype, kv.token(head, from + t) + bytes, values.f32_row(t), dim);
  }
  cluster_rows(step.context,
               {.x = keys, .rounds = kRounds, .centres = centres, .codes = {codes, static_cast<size_t>(count)}});
  for (int64_t c = 0; c < k; ++c) {
    size_t size = 0;
    for (int64_t t = 0; t < count; ++t)
      if (codes[t] == c) members[size++] = static_cast<int32_t>(t);
    const std::span<const int32_t> rows(members, size);
    std::fill_n(row, 2 * dim, 0.f);
    for (int32_t t : rows)
      for (int64_t d = 0; d < dim; ++d) {
        row[d] += keys.f32_row(t)[d] / static_cast<float>(size);
        row[dim + d] += values.f32_row(t)[d] / static_cast<float>(size);
      }
    quantize_row(kv.dtype, row, kv.token(head, to), 2 * dim);
    log2_weight(kv, head, to++) = std::log2(static_cast<float>(size));
    if (rows_each_ == 1) continue;
    principal_axis(keys, rows, row, direction);
    double length = 0;
    for (int64_t d = 0; d < dim; ++d) length += double{direction[d]} * direction[d];
    std::fill_n(direction + dim, dim, 0.f);
    for (int32_t t : rows) {
      double along = 0;
      for (int64_t d = 0; d < dim; ++d) along += double{direction[d]} * (keys.f32_row(t)[d] - row[d]);
      const auto share = static_cast<float>(length > 0 ? along / length / static_cast<double>(size) : 0);
      for (int64_t d = 0; d < dim; ++d) direction[dim + d] += share * (values.f32_row(t)[d] - row[dim + d]);
    }
    quantize_row(kv.dtype, direction, kv.token(head, to), 2 * dim);
    log2_weight(kv, head, to++) = 0;
  }
}

void AtpCentroids::read(const LayerStep& step, const Piece& piece) const {
  if (piece.shortened == 0) return Atp::read(step, piece);
  const int64_t heads = step.shape.heads, dim = step.shape.head_dim, longest = piece.kv.length, all = piece.q.dim(0);
  const int64_t block = std::clamp<int64_t>(kScoreFloats / (heads * longest), 1, all);
  Scratch::Frame frame(step.context.scratch);
  auto* pages = frame.take<KvPages>(block);
  for (int64_t first = 0; first < all; first += block) {
    const int64_t count = std::min(block, all - first);
    for (int64_t i = 0; i < count; ++i) {
      pages[i] = piece.kv;
      if (step.shape.causal) pages[i].length -= all - 1 - first - i;
    }
    Scratch::Frame inner(step.context.scratch);
    const View scores = inner.take_f32({count, heads, longest});
    score_keys(step.context, {.q = rows_of(piece.q, first, count),
                              .kv = {pages, static_cast<size_t>(count)},
                              .dims = static_cast<int>(dim),
                              .scale = step.shape.scale(),
                              .per_query_head = true,
                              .keys = scores});
    Piece part = piece;
    part.q = rows_of(piece.q, first, count), part.out = rows_of(piece.out, first, count);
    for (int head = 0; head < step.shape.kv_heads; ++head)
      read_head(step, part, head, {pages, static_cast<size_t>(count)}, scores);
  }
}

// scores: [n, H, S] log2 e * scale * q . k of all rows, those of this head's group become what rows count.
void AtpCentroids::read_head(const LayerStep& step, const Piece& piece, int head, std::span<const KvPages> rows,
                             View scores) const {
  const KvPages& kv = piece.kv;
  const int64_t heads = step.shape.heads, group = heads / kv.kv_heads, dim = kv.head_dim, longest = kv.length;
  const int64_t count = scores.dim(0), begin = options().sink, end = begin + short_rows(piece.shortened);
  Scratch::Frame frame(step.context.scratch);
  const View values = frame.take_f32({dim, longest}), shares = frame.take_f32({count * group, longest});
  const View out = frame.take_f32({count * group, dim});
  float *row = frame.take<float>(dim), *weights = frame.take<float>(longest);
  for (int64_t t = 0; t < longest; ++t) {
    dequantize_row(kv.dtype, kv.token(head, t) + row_bytes(kv.dtype, dim), row, dim);
    for (int64_t d = 0; d < dim; ++d) values.f32_row(d)[t] = row[d];
    weights[t] = t >= begin && t < end ? log2_weight(kv, head, t) : 0;
  }
  step.context.threads.dynamic(count * group, [&](int64_t i, int) {
    const float* score = scores.f32() + (i / group * heads + head * group + i % group) * longest;
    float* share = shares.f32_row(i);
    const int64_t length = rows[static_cast<size_t>(i / group)].length;
    float most = -std::numeric_limits<float>::infinity();
    for (int64_t t = 0; t < length; ++t) {
      const bool directed = rows_each_ == 2 && t >= begin && t < end;
      share[t] = score[t] + weights[t] + (directed ? log2_cosh(score[t + 1]) : 0);
      most = std::max(most, share[t]);
      if (directed) ++t;
    }
    double sum = 0;
    for (int64_t t = 0; t < length; ++t) {
      share[t] = std::exp2(share[t] - most);
      sum += share[t];
      if (rows_each_ == 1 || t < begin || t >= end) continue;
      share[t + 1] = share[t] * static_cast<float>(std::tanh(kLn2 * score[t + 1]));
      ++t;
    }
    for (int64_t t = 0; t < length; ++t) share[t] /= static_cast<float>(sum);
    std::fill(share + length, share + longest, 0.f);
  });
  matmul(step.context, {shares, values, out});
  for (int64_t i = 0; i < count * group; ++i)
    std::copy_n(out.f32_row(i), dim, piece.out.f32() + (i / group * heads + head * group + i % group) * dim);
}

}  // namespace lowkey
