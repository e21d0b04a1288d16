#include "attention/atp_factor.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "linalg/spectrum.h"
#include "linalg/truncated_svd.h"
#include "ops/add.h"
#include "ops/kv_append.h"
#include "ops/matmul.h"
#include "ops/rope.h"

namespace lowkey {
namespace {

constexpr int kDirections = 1;         // the plane
constexpr double kLosesMore = 1.1;     // times what was lost of the text so far: then the basis is fitted anew
constexpr int64_t kRowsAtATime = 512;  // rebuilt

double square(View x) {
  double sum = 0;
  for (int64_t i = 0; i < x.elements(); ++i) sum += double{x.f32()[i]} * x.f32()[i];
  return sum;
}

View gather(Scratch::Frame& frame, const PlaneRows& rows, int64_t begin, int64_t end, int64_t columns) {
  const View x = frame.take_f32({end - begin, columns});
  for (int64_t i = begin; i < end; ++i) std::copy_n(rows.row(i), columns, x.f32_row(i - begin));
  return x;
}

void scatter(View x, const PlaneRows& rows, int64_t begin) {
  for (int64_t i = 0; i < x.rows(); ++i) std::copy_n(x.f32_row(i), x.columns(), rows.row(begin + i));
}

}  // namespace

// In front of the directions of a sequence's first page.
struct AtpFactor::State {
  int64_t shortened = 0;  // tokens, from the sinks on: z in place of their inputs
  int64_t rank = 0;       // R
  double energy = 0;      // of the inputs in short form, |x|^2 in sum
  double held = 0;        // by the basis
};

// One layer of one sequence.
struct AtpFactor::Layer {
  const LayerStep& step;
  const KvPages& kv;
  State& state;
  PlaneRows inputs;      // [S, C]; z [R] where shortened
  PlaneRows directions;  // [R, C + 1], the last number being the length

  Layer(const LayerStep& layer_step, const KvPages& pages)
      : step(layer_step),
        kv(pages),
        state(*reinterpret_cast<State*>(pages.plane_page(2, 0, 0))),
        inputs{pages, kAtpInputs, layer_step.shape.width},
        directions{pages, kDirections, layer_step.shape.width + 1} {}

  int64_t width() const { return step.shape.width; }
  View basis(Scratch::Frame& frame) const { return gather(frame, directions, 0, state.rank, width()); }
};

std::vector<int64_t> AtpFactor::planes(const AttentionShape& shape, DType type, int page_tokens) const {
  std::vector<int64_t> bytes = Atp::planes(shape, type, page_tokens);
  bytes.push_back(PlaneRows::page_bytes(page_tokens, shape.kv_heads, shape.width + 1));
  bytes.push_back(sizeof(State));
  return bytes;
}

// What was cut off may have held directions. They come in order of their lengths, so the best remain.
void AtpFactor::resume(const LayerStep& step, const KvPages& kv, int64_t before) const {
  State& state = Layer(step, kv).state;
  if (before == 0) state = {};
  if (state.shortened <= before) return;
  state.shortened = before;
  state.rank = std::min(state.rank, (before + kv.page_tokens - 1) / kv.page_tokens * kv.page_tokens);
}

void AtpFactor::shorten(const LayerStep& step, const Shorten& what) const {
  const Layer layer(step, what.kv);
  const int64_t begin = std::max(options().sink, layer.state.shortened);
  if (begin >= what.end) return;
  Scratch::Frame frame(step.context.scratch);
  const View x = gather(frame, layer.inputs, begin, what.end, layer.width());
  layer.state.energy += square(x);
  layer.state.shortened = what.end;
  const bool same = project_onto(layer, x);
  if (!same) fit(layer, x);
  rebuild(layer, same ? begin : options().sink, what.end);
}

// False, and nothing done, when the basis has too little of these inputs.
bool AtpFactor::project_onto(const Layer& layer, View x) const {
  State& state = layer.state;
  if (state.rank == 0) return false;
  Scratch::Frame frame(layer.step.context.scratch);
  const View z = frame.take_f32({x.rows(), state.rank});
  matmul(layer.step.context, {x, layer.basis(frame), z});
  const double energy = square(x), held = square(z), before = state.energy - energy;
  if (energy - held > kLosesMore * energy * std::max(1 - state.held / before, 0.0)) return false;
  state.held += held;
  for (int64_t i = 0; i < state.rank; ++i) {
    float& length = layer.directions.row(i)[layer.width()];
    double sum = double{length} * length;
    for (int64_t t = 0; t < z.rows(); ++t) sum += double{z.f32_row(t)[i]} * z.f32_row(t)[i];
    length = static_cast<float>(std::sqrt(sum));
  }
  scatter(z, layer.inputs, state.shortened - x.rows());
  return true;
}

void AtpFactor::fit(const Layer& layer, View x) const {
  State& state = layer.state;
  const Context& context = layer.step.context;
  const int64_t width = layer.width(), old = state.rank;
  Scratch::Frame frame(context.scratch);
  const View basis = layer.basis(frame), stack = frame.take_f32({old + x.rows(), width});
  for (int64_t i = 0; i < old; ++i) {
    const float length = layer.directions.row(i)[width];
    std::transform(basis.f32_row(i), basis.f32_row(i) + width, stack.f32_row(i), [&](float b) { return length * b; });
  }
  std::copy_n(x.f32(), x.elements(), stack.f32_row(old));
  SvdOptions wanted{.rank = rank(state.shortened - options().sink), .start = old > 0 ? basis : View{}};
  if (options().rank.energy > 0) {  // of all inputs, also of what the basis does not have of them
    wanted.way = SvdWay::kExact;
    wanted.energy = std::min(options().rank.energy * state.energy / square(stack), 1.0);
  }
  if (options().rank.entropy) wanted.rank = entropy_rank(singular_values(stack));
  LowRank f = truncated_svd(context, stack, wanted);
  const View fitted = f32_view(f.directions.data(), {f.rank, width});
  const int64_t first = state.shortened - x.rows();
  for (int64_t t = 0; t < x.rows(); ++t)
    std::copy_n(f.coefficients.data() + (old + t) * f.rank, f.rank, layer.inputs.row(first + t));
  if (old > 0 && f.rank > 0 && first > options().sink) {
    const View turn = frame.take_f32({f.rank, old}), turned = frame.take_f32({first - options().sink, f.rank});
    matmul(context, {fitted, basis, turn});
    matmul(context, {gather(frame, layer.inputs, options().sink, first, old), turn, turned});
    scatter(turned, layer.inputs, options().sink);
  }
  scatter(fitted, layer.directions, 0);
  state.held = 0;
  for (int64_t i = 0; i < f.rank; ++i) {
    const double length = f.spectrum[static_cast<size_t>(i)];
    layer.directions.row(i)[width] = static_cast<float>(length);
    state.held += length * length;
  }
  state.rank = f.rank;
}

// K and V of tokens [begin, end) from their z.
void AtpFactor::rebuild(const Layer& layer, int64_t begin, int64_t end) const {
  const LayerStep& step = layer.step;
  const int64_t heads = step.shape.kv_heads, dim = step.shape.head_dim, outputs = heads * dim, rank = layer.state.rank;
  Scratch::Frame frame(step.context.scratch);
  const View parts[] = {frame.take_f32({std::max<int64_t>(rank, 1), outputs}),
                        frame.take_f32({std::max<int64_t>(rank, 1), outputs})};
  const View across[] = {frame.take_f32({outputs, rank}), frame.take_f32({outputs, rank})};
  if (rank > 0) {
    const MatmulPart products[] = {{step.projections.k, parts[0]}, {step.projections.v, parts[1]}};
    matmul_parts(step.context, layer.basis(frame), products, 2);
  }
  for (int part = 0; part < 2; ++part)
    for (int64_t i = 0; i < rank; ++i)
      for (int64_t o = 0; o < outputs; ++o) across[part].f32_row(o)[i] = parts[part].f32_row(i)[o];
  for (int64_t from = begin; from < end; from += kRowsAtATime) {
    const int64_t count = std::min(kRowsAtATime, end - from);
    Scratch::Frame piece(step.context.scratch);
    const View k = piece.take_f32({count, heads, dim}), v = piece.take_f32({count, heads, dim});
    auto* positions = piece.take<int32_t>(count);
    std::iota(positions, positions + count, static_cast<int32_t>(from));
    std::fill_n(k.f32(), k.elements(), 0.f);
    std::fill_n(v.f32(), v.elements(), 0.f);
    if (rank > 0) {
      const MatmulPart products[] = {{across[0], f32_view(k.f32(), {count, outputs})},
                                     {across[1], f32_view(v.f32(), {count, outputs})}};
      matmul_parts(step.context, gather(piece, layer.inputs, from, from + count, rank), products, 2);
    }
    if (step.projections.k_bias) add(step.context, {f32_view(k.f32(), {count, outputs}), step.projections.k_bias});
    if (step.projections.v_bias) add(step.context, {f32_view(v.f32(), {count, outputs}), step.projections.v_bias});
    if (step.inverse_frequency)
      rope(step.context, {k, {positions, static_cast<size_t>(count)}, step.inverse_frequency, step.rope_layout});
    KvPages rows = layer.kv;
    rows.length = from + count;
    kv_append(step.context, {k, v, rows});
  }
}

}  // namespace lowkey
