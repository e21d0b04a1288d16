#include "attention/atp_softmax.h"

#include <algorithm>
#include <cmath>

#include "attention/atp_cost.h"
#include "attention/cache_columns.h"
#include "base/error.h"
#include "linalg/truncated_svd.h"
#include "ops/add.h"
#include "ops/kv_append.h"
#include "ops/matmul.h"
#include "ops/quantize.h"
#include "ops/transpose.h"

namespace lowkey {
namespace {

constexpr int64_t kRowsTogether = 16;              // copied by a thread
constexpr int64_t kMostFloats = int64_t{1} << 24;  // of K and V as columns at once: 64 MiB

// U^T [keys, T] of a factor: rows of zeros where it has fewer directions.
View left_vectors(const Context& context, Scratch::Frame& frame, LowRank& f, int64_t count, int64_t keys) {
  const View across = frame.take_f32({keys, count});
  if (f.rank > 0) transpose(context, {f32_view(f.coefficients.data(), {count, f.rank}), across.slice_rows(0, f.rank)});
  context.threads.split(keys, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      const auto inverse = r < f.rank ? static_cast<float>(1 / f.spectrum[static_cast<size_t>(r)]) : 0.f;
      float* row = across.f32_row(r);
      for (int64_t i = 0; i < count; ++i) row[i] = r < f.rank ? row[i] * inverse : 0.f;
    }
  });
  return across;
}

double sum_of(const float* u, const float* mass, int64_t count) {
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += double{u[i]} * (mass == nullptr ? 1.f : mass[i]);
  return sum;
}

SvdOptions svd_options(int64_t rank, View start) { return {.rank = rank, .iterations = 1, .start = start}; }

}  // namespace

AtpSoftmax::AtpSoftmax(const AtpOptions& options) : Atp(options) {
  LK_REQUIRE(!options.causal || rank(options.width) <= options.chunk, kInvalidArgument,
             "[atp] form=softmax: r={} principal keys, must be at most chunk={}", rank(options.width), options.chunk);
}

bool AtpSoftmax::on_factor(const LayerStep& step) const noexcept {
  return !options().causal && options().linear != LinearLayers::kOff && options().sink == 0 && options().min == 0 &&
         step.projections.k && !step.projections.k_norm && !step.inverse_frequency;
}

void AtpSoftmax::project(const LayerStep& step, View x, const Qkv& qkv) const {
  if (!on_factor(step)) return Atp::project(step, x, qkv);
  int64_t row = 0;
  for (size_t b = 0; b < step.kv.size(); ++b) {
    const int64_t count = step.counts[b];
    const View q = rows_of(qkv.q, row, count);
    project_text(step, step.kv[b], x.slice_rows(row, row + count), f32_view(q.f32(), {count, q.dim(1) * q.dim(2)}));
    row += count;
  }
}

void AtpSoftmax::append(const LayerStep& step, const Qkv& qkv) const {
  if (!on_factor(step)) Atp::append(step, qkv);
}

// The queries of a text, and its principal keys and values in the first rows of its cache.
void AtpSoftmax::project_text(const LayerStep& step, const KvPages& kv, View x, View q) const {
  const Context& context = step.context;
  const Projections& p = step.projections;
  const int64_t count = x.rows(), width = x.columns(), keys = rank(count), outputs = p.k.rows();
  Scratch::Frame frame(context.scratch);
  LowRank f = truncated_svd(context, x, svd_options(keys, {}));
  const View directions = f32_view(f.directions.data(), {f.rank, width});
  const View coefficients = f32_view(f.coefficients.data(), {count, f.rank});
  const View k = frame.take_f32({keys, outputs}), v = frame.take_f32({keys, outputs});
  std::fill_n(k.f32(), k.elements(), 0.f);
  std::fill_n(v.f32(), v.elements(), 0.f);
  const MatmulPart parts[] = {{p.k, k.slice_rows(0, f.rank)}, {p.v, v.slice_rows(0, f.rank)}};
  if (f.rank > 0) matmul_parts(context, directions, parts, 2);
  const View across = left_vectors(context, frame, f, count, f.rank);
  const auto scale = static_cast<float>(1 / std::sqrt(static_cast<double>(count)));
  for (int64_t r = 0; r < f.rank; ++r) {
    const auto length = static_cast<float>(f.spectrum[static_cast<size_t>(r)]);
    const auto sum = static_cast<float>(sum_of(across.f32_row(r), nullptr, count));
    for (const auto& [made, bias] : {std::pair{k, p.k_bias}, std::pair{v, p.v_bias}})
      for (int64_t o = 0; o < outputs; ++o)
        made.f32_row(r)[o] = scale * (length * made.f32_row(r)[o] + (bias ? sum * bias.f32()[o] : 0.f));
  }
  KvPages rows = kv;
  rows.length = keys;
  kv_append(context, {f32_view(k.f32(), {keys, kv.kv_heads, kv.head_dim}),
                      f32_view(v.f32(), {keys, kv.kv_heads, kv.head_dim}), rows});
  const LinearCost cost{.tokens = count, .width = width, .rank = f.rank, .outputs = p.q.rows()};
  if (f.rank > 0 && (options().linear == LinearLayers::kOn || factored_pays(cost))) {
    const View turned = frame.take_f32({f.rank, p.q.rows()}), weights = frame.take_f32({p.q.rows(), f.rank});
    matmul(context, {directions, p.q, turned});
    transpose(context, {turned, weights});
    matmul(context, {coefficients, weights, q});
  } else {
    matmul(context, {x, p.q, q});
  }
  if (p.q_bias) add(context, {q, p.q_bias});
}

void AtpSoftmax::shorten(const LayerStep& step, const Shorten& what) const {
  if (on_factor(step)) return;  // project() has done it
  const Context& context = step.context;
  const KvPages& kv = what.kv;
  const int64_t width = step.shape.width, first = options().sink, keys = rank(what.end - first),
                old = what.begin == 0 ? 0 : keys, count = old + what.end - std::max(what.begin, first);
  const PlaneRows inputs{kv, kAtpInputs, width + 1, kv.page_tokens};
  Scratch::Frame frame(context.scratch);
  // The rows of the cache from the first principal key to the last token that leaves lie one after another.
  const View x = frame.take_f32({count, width}), mass = frame.take_f32({count});
  context.threads.split(count, kRowsTogether, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      std::copy_n(inputs.row(first + i), width, x.f32_row(i));
      mass.f32()[i] = i < old ? inputs.row(first + i)[width] : 1.f;
    }
  });
  LowRank f = truncated_svd(context, x, svd_options(keys, old > 0 ? x.slice_rows(0, old) : View{}));
  const View across = left_vectors(context, frame, f, count, keys);
  const auto size = [&](int64_t end) { return static_cast<float>(std::sqrt(static_cast<double>(end - first))); };
  const float scale = 1 / size(what.end), old_scale = size(what.begin) * scale;  // of K' and V' as they are kept
  context.threads.split(keys, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      float *u = across.f32_row(r), *row = inputs.row(first + r);
      const double sum = sum_of(u, mass.f32(), count);  // over all tokens so far
      const float sign = sum < 0 ? -1.f : 1.f;
      const float length = r < f.rank ? sign * static_cast<float>(f.spectrum[static_cast<size_t>(r)]) : 0.f;
      for (int64_t c = 0; c < width; ++c)
        row[c] = r < f.rank ? length * f.directions[static_cast<size_t>(r * width + c)] : 0.f;
      row[width] = static_cast<float>(std::abs(sum));
      for (int64_t i = 0; i < count; ++i) u[i] *= sign * (i < old ? old_scale : scale);
    }
  });
  project_keys(step, kv, across);
  close_rows(step, kv, first + count, first + keys, what.tokens - removed(what.begin));
}

// The first rows of the cache after the first tokens become across [keys, n] times n rows from there.
void AtpSoftmax::project_keys(const LayerStep& step, const KvPages& kv, View across) const {
  const Context& context = step.context;
  const int64_t numbers = int64_t{2} * kv.head_dim, keys = across.rows(), count = across.columns();
  const int together = static_cast<int>(std::clamp<int64_t>(kMostFloats / (numbers * count), 1, kv.kv_heads));
  for (int head = 0; head < kv.kv_heads; head += together) {
    const int heads = std::min(together, kv.kv_heads - head);
    Scratch::Frame frame(context.scratch);
    const View columns = frame.take_f32({heads * numbers, count}), made = frame.take_f32({keys, heads * numbers});
    cache_columns(context, {.kv = kv, .first_head = head, .begin = options().sink, .out = columns});
    matmul(context, {across, columns, made});
    context.threads.split(keys, 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t r = begin; r < end; ++r)
        for (int h = 0; h < heads; ++h)
          quantize_row(kv.dtype, made.f32_row(r) + h * numbers, kv.token(head + h, options().sink + r), numbers);
    });
  }
}

}  // namespace lowkey
