#include "attention/atp_factor.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "attention/atp_metric.h"
#include "linalg/spectrum.h"
#include "linalg/truncated_svd.h"
#include "ops/add.h"
#include "ops/kv_append.h"
#include "ops/matmul.h"
#include "ops/quantize.h"
#include "ops/rope.h"

namespace lowkey {
namespace {

constexpr int kMetric = 0, kDecoder = 1, kState = 2;  // the planes
constexpr double kLosesMore = 1.1;     // times what was lost of the text so far: then the basis is fitted anew
constexpr int64_t kRowsAtATime = 512;  // rebuilt or turned

double square(View x) {
  double sum = 0;
  for (int64_t i = 0; i < x.elements(); ++i) sum += double{x.f32()[i]} * x.f32()[i];
  return sum;
}

// Most numbers of a z. Where the rank is known from the text only, half of what K and V have.
int64_t most_numbers(const AtpOptions& o, int64_t numbers) {
  if (!o.causal) return numbers;  // the cache holds one layer at a time, so nothing is gained
  const bool open = o.rank.energy > 0 || o.rank.entropy;
  return std::min({open ? numbers / 2 : o.rank.amount.of(o.width), o.width, numbers});
}

// Tokens are shortened where that saves rows of every chunk.
AtpOptions where_it_saves(AtpOptions o, int64_t numbers) {
  constexpr int64_t kNever = int64_t{1} << 40;
  if (o.causal && PackedRows::cache_rows(o.chunk, {most_numbers(o, numbers), o.bits}, numbers) >= o.chunk)
    o.min = kNever;
  return o;
}

}  // namespace

struct AtpFactor::State {
  int64_t rank = 0;   // R
  double energy = 0;  // |y|^2 of the tokens in short form, in sum
  double held = 0;    // by the directions
};

// One layer of one sequence. Rows of `metric` [N]: the mean of y; the metric's root and its inverse, [D] each, blocks
// side by side. Rows of `decoder` [R]: what makes y - mean of z, [N]; the lengths of the directions.
struct AtpFactor::Layer {
  const LayerStep& step;
  const KvPages& kv;
  State& state;
  PlaneRows metric, decoder;
  PackedRows z;
  int64_t numbers, dim;

  const Context& context() const { return step.context; }
  float* mean() const { return metric.row(0); }
  float* root(int64_t i) const { return metric.row(1 + i); }
  float* inverse(int64_t i) const { return metric.row(1 + dim + i); }
  float* lengths() const { return decoder.row(numbers); }

  // Rows [begin, end) of the decoder, [end - begin, R].
  View decoder_rows(Scratch::Frame& frame, int64_t begin, int64_t end) const {
    const View rows = frame.take_f32({end - begin, state.rank});
    for (int64_t n = begin; n < end; ++n) std::copy_n(decoder.row(n), state.rank, rows.f32_row(n - begin));
    return rows;
  }
  // [R, N], orthonormal.
  View directions(Scratch::Frame& frame) const {
    const View v = frame.take_f32({state.rank, numbers});
    for (int64_t n = 0; n < numbers; ++n)
      for (int64_t i = 0; i < state.rank; ++i) v.f32_row(i)[n] = decoder.row(n)[i];
    multiply(v, [&](int64_t i) { return root(i); });
    return v;
  }
  void set_directions(View v) const {
    Scratch::Frame frame(context().scratch);
    const View rows = frame.take_f32({v.rows(), numbers});
    std::copy_n(v.f32(), v.elements(), rows.f32());
    multiply(rows, [&](int64_t i) { return inverse(i); });
    for (int64_t n = 0; n < numbers; ++n)
      for (int64_t i = 0; i < v.rows(); ++i) decoder.row(n)[i] = rows.f32_row(i)[n];
    state.rank = v.rows();
  }
  // y: [n, N], each block of D numbers times its own symmetric matrix, the i-th row of all of them being row(i).
  template <typename Row>
  void multiply(View y, Row&& row) const {
    Scratch::Frame frame(context().scratch);
    float* sums = frame.take<float>(context().threads.count() * dim);
    context().threads.split(y.rows(), 1, [&](int64_t begin, int64_t end, int thread) {
      float* sum = sums + thread * dim;
      for (int64_t t = begin; t < end; ++t)
        for (int64_t block = 0; block < numbers; block += dim) {
          float* x = y.f32_row(t) + block;
          std::fill_n(sum, dim, 0.f);
          for (int64_t i = 0; i < dim; ++i) {
            const float* m = row(i) + block;
            for (int64_t j = 0; j < dim; ++j) sum[j] += x[i] * m[j];
          }
          std::copy_n(sum, dim, x);
        }
    });
  }
};

AtpFactor::AtpFactor(const AtpOptions& options, const AttentionShape& shape, bool weighted)
    : Atp(where_it_saves(options, 2 * int64_t{shape.kv_heads} * shape.head_dim)),
      numbers_(2 * int64_t{shape.kv_heads} * shape.head_dim),
      dim_(shape.head_dim),
      stride_(most_numbers(options, numbers_)),
      weighted_(weighted) {}

int64_t AtpFactor::packed(int64_t end) const noexcept {
  return end == 0 ? 0 : PackedRows::cache_rows(end - options().sink, format(), numbers_);
}

// What is kept of a sequence lies in the pages that it has when its first tokens have just been shortened: never fewer
// later.
int64_t AtpFactor::page_rows(int page_tokens, int64_t all) const noexcept {
  const AtpOptions& o = options();
  const int64_t length = longest_exact() + 1;
  const int64_t least = o.causal ? rows(length, due(length)) : 1, pages = (least + page_tokens - 1) / page_tokens;
  return (all + pages - 1) / pages;
}

std::vector<int64_t> AtpFactor::planes(const AttentionShape& shape, DType kv_type, int page_tokens) const {
  require_float_cache("atp", kv_type);
  return {PlaneRows::page_bytes(page_rows(page_tokens, 1 + 2 * dim_), shape.kv_heads, numbers_),
          PlaneRows::page_bytes(page_rows(page_tokens, numbers_ + 1), shape.kv_heads, stride_), sizeof(State)};
}

AtpFactor::Layer AtpFactor::layer(const LayerStep& step, const KvPages& kv) const {
  return {.step = step,
          .kv = kv,
          .state = *reinterpret_cast<State*>(kv.plane_page(kState, 0, 0)),
          .metric = {kv, kMetric, numbers_, page_rows(kv.page_tokens, 1 + 2 * dim_)},
          .decoder = {kv, kDecoder, stride_, page_rows(kv.page_tokens, numbers_ + 1)},
          .z = {kv, options().sink, format()},
          .numbers = numbers_,
          .dim = dim_};
}

void AtpFactor::shorten(const LayerStep& step, const Shorten& what) const {
  const Layer layer = this->layer(step, what.kv);
  const int64_t sink = options().sink, first = std::max(what.begin - sink, int64_t{0}), count = what.end - sink - first;
  const int64_t row = sink + packed(what.begin);  // where the tokens that leave begin
  Scratch::Frame frame(step.context.scratch);
  const View y = frame.take_f32({count, numbers_});
  gather(layer, row, sink + first, y);
  if (first == 0) {
    layer.state = {};
    begin(layer, y);
  }
  for (int64_t t = 0; t < count; ++t)
    for (int64_t i = 0; i < numbers_; ++i) y.f32_row(t)[i] -= layer.mean()[i];
  layer.multiply(y, [&](int64_t i) { return layer.root(i); });
  layer.state.energy += square(y);
  if (!project_onto(layer, y, first)) fit(layer, y, first);
  close_rows(step, what.kv, row + count, sink + packed(what.end), rows(what.tokens, what.begin));
}

// y: out [n, N], keys before RoPE and values of the tokens from `position` on, which lie from row `row` on.
void AtpFactor::gather(const Layer& layer, int64_t row, int64_t position, View y) const {
  const LayerStep& step = layer.step;
  const int64_t count = y.rows(), half = numbers_ / 2;
  Scratch::Frame frame(step.context.scratch);
  const View k = frame.take_f32({count, step.shape.kv_heads, dim_});
  auto* back = frame.take<int32_t>(count);
  for (int64_t t = 0; t < count; ++t) back[t] = static_cast<int32_t>(-(position + t));
  step.context.threads.split(count, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t)
      for (int head = 0; head < layer.kv.kv_heads; ++head) {
        const std::byte* from = layer.kv.token(head, row + t);
        dequantize_row(layer.kv.dtype, from, k.f32() + t * half + head * dim_, dim_);
        dequantize_row(layer.kv.dtype, from + row_bytes(layer.kv.dtype, dim_), y.f32_row(t) + half + head * dim_, dim_);
      }
  });
  if (step.inverse_frequency)
    rope(step.context,
         {k, {back, static_cast<size_t>(count)}, step.inverse_frequency, step.rope_layout, 1 / step.rope_amplitude});
  for (int64_t t = 0; t < count; ++t) std::copy_n(k.f32() + t * half, half, y.f32_row(t));
}

// The mean and the metric, of the first tokens that are shortened, for all that follow.
void AtpFactor::begin(const Layer& layer, View y) const {
  Scratch::Frame frame(layer.step.context.scratch);
  double* sums = frame.take<double>(numbers_);
  std::fill_n(sums, numbers_, 0.0);
  for (int64_t t = 0; t < y.rows(); ++t)
    for (int64_t i = 0; i < numbers_; ++i) sums[i] += y.f32_row(t)[i];
  for (int64_t i = 0; i < numbers_; ++i) layer.mean()[i] = static_cast<float>(sums[i] / static_cast<double>(y.rows()));
  const MetricRoots metric =
      weighted_ ? output_metric(layer.step, y, layer.mean()) : equal_metric(layer.step, y, layer.mean());
  for (int64_t i = 0; i < dim_; ++i) {
    std::copy_n(metric.root.data() + i * numbers_, numbers_, layer.root(i));
    std::copy_n(metric.inverse.data() + i * numbers_, numbers_, layer.inverse(i));
  }
}

// False, and nothing done, when the directions have too little of these tokens.
bool AtpFactor::project_onto(const Layer& layer, View y, int64_t first) const {
  State& state = layer.state;
  if (state.rank == 0) return false;
  Scratch::Frame frame(layer.step.context.scratch);
  const View z = frame.take_f32({y.rows(), state.rank});
  matmul(layer.step.context, {y, layer.directions(frame), z});
  const double energy = square(y), held = square(z), before = state.energy - energy;
  if (energy - held > kLosesMore * energy * std::max(1 - state.held / before, 0.0)) return false;
  state.held += held;
  for (int64_t i = 0; i < state.rank; ++i) {
    float& length = layer.lengths()[i];
    double sum = double{length} * length;
    for (int64_t t = 0; t < z.rows(); ++t) sum += double{z.f32_row(t)[i]} * z.f32_row(t)[i];
    length = static_cast<float>(std::sqrt(sum));
  }
  for (int64_t t = 0; t < z.rows(); ++t) layer.z.write(first + t, z.f32_row(t), state.rank);
  return true;
}

void AtpFactor::fit(const Layer& layer, View y, int64_t first) const {
  State& state = layer.state;
  const Context& context = layer.step.context;
  const int64_t old = state.rank;
  Scratch::Frame frame(context.scratch);
  const View directions = layer.directions(frame), stack = frame.take_f32({old + y.rows(), numbers_});
  for (int64_t i = 0; i < old; ++i) {
    const float length = layer.lengths()[i];
    std::transform(directions.f32_row(i), directions.f32_row(i) + numbers_, stack.f32_row(i),
                   [&](float b) { return length * b; });
  }
  std::copy_n(y.f32(), y.elements(), stack.f32_row(old));
  SvdOptions wanted{.rank = std::min(rank(first + y.rows()), stride_), .start = old > 0 ? directions : View{}};
  if (options().rank.energy > 0) {  // of all tokens, also of what the directions do not have of them
    wanted.way = SvdWay::kExact;
    wanted.energy = std::min(options().rank.energy * state.energy / square(stack), 1.0);
  }
  if (options().rank.entropy) wanted.rank = std::min<int64_t>(entropy_rank(singular_values(stack)), stride_);
  LowRank f = truncated_svd(context, stack, wanted);
  const View fitted = f32_view(f.directions.data(), {f.rank, numbers_});
  if (f.rank > 0 && first > 0) {
    const View turn = frame.take_f32({f.rank, std::max<int64_t>(old, 1)});
    if (old > 0) matmul(context, {fitted, directions, turn});
    if (old == 0) std::fill_n(turn.f32(), f.rank, 0.f);  // older tokens are all the mean
    turn_old(layer, first, turn);
  }
  for (int64_t t = 0; t < y.rows(); ++t) layer.z.write(first + t, f.coefficients.data() + (old + t) * f.rank, f.rank);
  layer.set_directions(fitted);
  state.held = 0;
  for (int64_t i = 0; i < f.rank; ++i) {
    const double length = f.spectrum[static_cast<size_t>(i)];
    layer.lengths()[i] = static_cast<float>(length);
    state.held += length * length;
  }
}

// turn: [new rank, old rank]; what it does to the first `count` z.
void AtpFactor::turn_old(const Layer& layer, int64_t count, View turn) const {
  for (int64_t from = 0; from < count; from += kRowsAtATime) {
    const int64_t n = std::min(kRowsAtATime, count - from);
    Scratch::Frame frame(layer.step.context.scratch);
    const View z = frame.take_f32({n, turn.columns()}), turned = frame.take_f32({n, turn.rows()});
    for (int64_t t = 0; t < n; ++t) layer.z.read(from + t, z.f32_row(t), z.columns());
    matmul(layer.step.context, {z, turn, turned});
    for (int64_t t = 0; t < n; ++t) layer.z.write(from + t, turned.f32_row(t), turned.columns());
  }
}

void AtpFactor::read(const LayerStep& step, const Piece& piece) const {
  const Layer layer = this->layer(step, piece.kv);
  const int64_t heads = step.shape.kv_heads;
  const auto listed = [&](int64_t i) {
    return !piece.tokens.empty() && piece.tokens[static_cast<size_t>(i * heads)].ids != nullptr;
  };
  for (int64_t begin = 0, end; begin < piece.q.dim(0); begin = end) {
    for (end = begin + 1; end < piece.q.dim(0) && listed(end) == listed(begin);) ++end;
    Piece part = piece;
    part.q = rows_of(piece.q, begin, end - begin), part.out = rows_of(piece.out, begin, end - begin);
    if (step.shape.causal) part.kv.length -= piece.q.dim(0) - end;
    if (!listed(begin)) {
      read_all(layer, part);
      continue;
    }
    part.tokens = piece.tokens.subspan(static_cast<size_t>(begin * heads), static_cast<size_t>((end - begin) * heads));
    read_lists(layer, part);
  }
}

namespace {

// Room in scratch for so many rows of K and V, as pages.
KvPages scratch_pages(Scratch::Frame& frame, const KvPages& like, int64_t length, int heads) {
  KvPages kv = like;
  kv.length = length;
  kv.kv_heads = heads;
  const int64_t pages = (length + kv.page_tokens - 1) / kv.page_tokens;
  auto* table = frame.take<int32_t>(pages);
  std::iota(table, table + pages, 0);
  kv.table = table;
  kv.head_stride = pages * kv.page_bytes();
  kv.base = frame.take<std::byte>(kv.kv_heads * kv.head_stride);
  return kv;
}

}  // namespace

// With a row of K and V for each token, a KV head at a time.
void AtpFactor::read_all(const Layer& layer, const Piece& piece) const {
  if (piece.shortened == 0) return Atp::read(layer.step, piece);
  const int64_t sink = options().sink, gone = removed(piece.shortened), rows = piece.q.dim(0);
  const int64_t heads = layer.step.shape.heads, group = heads / layer.step.shape.kv_heads;
  Scratch::Frame frame(layer.step.context.scratch);
  const KvPages kv = scratch_pages(frame, piece.kv, piece.kv.length + gone, 1);
  const View q = frame.take_f32({rows, group, dim_}), out = frame.take_f32({rows, group, dim_});
  const auto bytes = static_cast<size_t>(kv.token_bytes());
  for (int head = 0; head < layer.step.shape.kv_heads; ++head) {
    for (int64_t t = 0; t < sink; ++t) std::memcpy(kv.token(0, t), piece.kv.token(head, t), bytes);
    rebuild(layer, head, kv, piece.shortened - sink);
    for (int64_t t = piece.shortened; t < kv.length; ++t)
      std::memcpy(kv.token(0, t), piece.kv.token(head, t - gone), bytes);
    const auto own = [&](View x, int64_t i) { return x.f32() + (i * heads + head * group) * dim_; };
    for (int64_t i = 0; i < rows; ++i) std::copy_n(own(piece.q, i), group * dim_, q.f32() + i * group * dim_);
    Atp::read(layer.step, {.kv = kv, .q = q, .out = out, .shortened = piece.shortened});
    for (int64_t i = 0; i < rows; ++i) std::copy_n(out.f32() + i * group * dim_, group * dim_, own(piece.out, i));
  }
}

// One head's K and V of the old tokens into their rows of `kv`, which has one head.
void AtpFactor::rebuild(const Layer& layer, int head, const KvPages& kv, int64_t old) const {
  const LayerStep& step = layer.step;
  const int64_t sink = options().sink, rank = layer.state.rank;
  for (int64_t from = 0; from < old; from += kRowsAtATime) {
    const int64_t count = std::min(kRowsAtATime, old - from);
    Scratch::Frame frame(step.context.scratch);
    const View z = frame.take_f32({count, rank});
    const View k = frame.take_f32({count, 1, dim_}), v = frame.take_f32({count, 1, dim_});
    auto* positions = frame.take<int32_t>(count);
    std::iota(positions, positions + count, static_cast<int32_t>(sink + from));
    step.context.threads.split(count, 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t t = begin; t < end; ++t) layer.z.read(from + t, z.f32_row(t), rank);
    });
    make(layer, head, z, {positions, static_cast<size_t>(count)}, k, v);
    KvPages rows = kv;
    rows.length = sink + from + count;
    kv_append(step.context, {k, v, rows});
  }
}

// k, v: out [n, 1, D] of one head, from z [n, R].
void AtpFactor::make(const Layer& layer, int head, View z, std::span<const int32_t> positions, View k, View v) const {
  expand(layer, z, head * dim_, k);
  expand(layer, z, numbers_ / 2 + head * dim_, v);
  rotate(layer.step, k, positions);
}

// Row by row, with a row of K and V for each token of its lists.
void AtpFactor::read_lists(const Layer& layer, const Piece& piece) const {
  const int heads = layer.step.shape.kv_heads;
  const float scale = layer.step.shape.scale();
  for (int64_t i = 0; i < piece.q.dim(0); ++i) {
    const auto lists = piece.tokens.subspan(static_cast<size_t>(i * heads), static_cast<size_t>(heads));
    int64_t most = 0;
    for (const TokenList& list : lists) most = std::max(most, list.count);
    Scratch::Frame frame(layer.step.context.scratch);
    const KvPages kv = scratch_pages(frame, piece.kv, most, heads);
    auto* in_order = frame.take<int32_t>(most);
    std::iota(in_order, in_order + most, 0);
    auto* read = frame.take<TokenList>(heads);
    for (int head = 0; head < heads; ++head) {
      fetch(layer, piece, head, lists[static_cast<size_t>(head)], kv);
      read[head] = {.ids = in_order, .count = lists[static_cast<size_t>(head)].count};
    }
    attention_decode(
        layer.step.context,
        {rows_of(piece.q, i, 1), {&kv, 1}, {read, static_cast<size_t>(heads)}, scale, rows_of(piece.out, i, 1)});
  }
}

// One head's rows of the tokens listed, to the first rows of `to`.
void AtpFactor::fetch(const Layer& layer, const Piece& piece, int head, const TokenList& list,
                      const KvPages& to) const {
  const LayerStep& step = layer.step;
  const int64_t sink = options().sink, gone = removed(piece.shortened), rank = layer.state.rank;
  const auto bytes = static_cast<size_t>(to.token_bytes());
  Scratch::Frame frame(step.context.scratch);
  auto *places = frame.take<int32_t>(list.count), *positions = frame.take<int32_t>(list.count);
  int64_t count = 0;
  for (int64_t i = 0; i < list.count; ++i) {
    const int64_t t = list.ids[i];
    if (t >= sink && t < piece.shortened) {
      places[count] = static_cast<int32_t>(i), positions[count++] = static_cast<int32_t>(t);
    } else {
      std::memcpy(to.token(head, i), piece.kv.token(head, t < sink ? t : t - gone), bytes);
    }
  }
  if (count == 0) return;
  const View z = frame.take_f32({count, rank}), k = frame.take_f32({count, 1, dim_}),
             v = frame.take_f32({count, 1, dim_});
  for (int64_t i = 0; i < count; ++i) layer.z.read(positions[i] - sink, z.f32_row(i), rank);
  make(layer, head, z, {positions, static_cast<size_t>(count)}, k, v);
  for (int64_t i = 0; i < count; ++i) {
    std::byte* row = to.token(head, places[i]);
    quantize_row(to.dtype, k.f32() + i * dim_, row, dim_);
    quantize_row(to.dtype, v.f32() + i * dim_, row + row_bytes(to.dtype, dim_), dim_);
  }
}

// Numbers [begin, begin + n) of y of each z, n the numbers of a row of `out`.
void AtpFactor::expand(const Layer& layer, View z, int64_t begin, View out) const {
  const int64_t columns = out.elements() / z.rows();
  const View flat = f32_view(out.f32(), {z.rows(), columns});
  Scratch::Frame frame(layer.step.context.scratch);
  if (layer.state.rank > 0) {
    matmul(layer.step.context, {z, layer.decoder_rows(frame, begin, begin + columns), flat});
  } else {
    std::fill_n(flat.f32(), flat.elements(), 0.f);
  }
  add(layer.step.context, {flat, f32_view(layer.mean() + begin, {columns})});
}

}  // namespace lowkey
