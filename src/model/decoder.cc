#include "model/decoder.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/fnv1a.h"
#include "ops/add.h"
#include "ops/embed.h"
#include "ops/matmul.h"
#include "ops/soft_cap.h"

namespace lowkey {

Decoder::Decoder(Checkpoint checkpoint) : checkpoint_(std::move(checkpoint)), specs_(tensors_of(checkpoint_.config())) {
  const ModelConfig& c = checkpoint_.config();
  int64_t window = 0;
  for (int64_t w : c.windows)
    if (w > 0) window = window == 0 ? w : std::min(window, w);
  shape_ = {.attention = {.layers = c.layers,
                          .heads = c.heads,
                          .kv_heads = c.kv_heads,
                          .head_dim = c.head_dim,
                          .width = c.width,
                          .rope_layout = c.rope.layout,
                          .score_scale = c.attention_scale,
                          .score_cap = c.attention_cap,
                          .window = window},
            .vocabulary = c.vocabulary,
            .context = c.context};
  for (const TensorSpec& spec : specs_) tensors_[spec.name] = checkpoint_.require(spec);
  embedding_ = weight("token_embd.weight");
  if (c.learned_positions) positions_ = weight("position_embd.weight");
  output_ = c.tied ? embedding_ : weight("output.weight");
  output_norm_ = norm("output_norm");
  frequency_ = inverse_frequencies(c.rope, RopeReach::kLong);
  short_frequency_ = inverse_frequencies(c.rope, RopeReach::kShort);
  window_frequency_ = inverse_frequencies(c.rope, RopeReach::kWindow);
  layers_.resize(static_cast<size_t>(c.layers));  // projections point into them
  for (int i = 0; i < c.layers; ++i) {
    const std::string prefix = fmt::format("blk.{}.", i);
    Layer& layer = layers_[static_cast<size_t>(i)];
    layer.attention_norm = norm(prefix + "attn_norm");
    layer.ffn_norm = norm(prefix + "ffn_norm");
    layer.attention_post_norm = norm(prefix + "post_attention_norm");
    layer.ffn_post_norm = norm(prefix + "post_ffw_norm");
    layer.output = linear(prefix + "attn_output");
    layer.window = c.window(i);
    read_projections(prefix, layer);
    read_feed_forward(prefix, c.mixture(i), layer);
  }
}

View Decoder::weight(const std::string& name) const { return tensors_.at(name)[0]; }

std::vector<float> Decoder::vector(const std::string& name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? std::vector<float>() : floats(found->second[0], checkpoint_.path(), name);
}

Linear Decoder::linear(const std::string& name) const { return {weight(name + ".weight"), vector(name + ".bias")}; }

Norm Decoder::norm(const std::string& name) const {
  return {vector(name + ".weight"), vector(name + ".bias"), checkpoint_.config().norm_epsilon};
}

void Decoder::read_projections(const std::string& prefix, Layer& layer) const {
  const ModelConfig& c = checkpoint_.config();
  const int64_t queries = int64_t{c.heads} * c.head_dim, keys = int64_t{c.kv_heads} * c.head_dim;
  Projections& p = layer.projections;
  if (c.fused_qkv) {
    const Linear all = linear(prefix + "attn_qkv");
    const int64_t ends[] = {0, queries, queries + keys, queries + 2 * keys};
    View* weights[] = {&p.q, &p.k, &p.v};
    std::vector<float>* biases[] = {&layer.q_bias, &layer.k_bias, &layer.v_bias};
    for (int i = 0; i < 3; ++i) {
      *weights[i] = all.weight.slice_rows(ends[i], ends[i + 1]);
      if (!all.bias.empty()) biases[i]->assign(all.bias.begin() + ends[i], all.bias.begin() + ends[i + 1]);
    }
  } else {
    p.q = weight(prefix + "attn_q.weight"), layer.q_bias = vector(prefix + "attn_q.bias");
    p.k = weight(prefix + "attn_k.weight"), layer.k_bias = vector(prefix + "attn_k.bias");
    p.v = weight(prefix + "attn_v.weight"), layer.v_bias = vector(prefix + "attn_v.bias");
  }
  layer.q_norm = vector(prefix + "attn_q_norm.weight"), layer.k_norm = vector(prefix + "attn_k_norm.weight");
  p.q_bias = vector_view(layer.q_bias), p.k_bias = vector_view(layer.k_bias), p.v_bias = vector_view(layer.v_bias);
  p.q_norm = vector_view(layer.q_norm), p.k_norm = vector_view(layer.k_norm);
  p.norm_epsilon = c.norm_epsilon;
  p.output = layer.output.weight;
}

void Decoder::read_feed_forward(const std::string& prefix, bool mixture, Layer& layer) const {
  const ModelConfig& c = checkpoint_.config();
  if (mixture) {
    layer.mixture.router = weight(prefix + "ffn_gate_inp.weight");
    layer.mixture.used = c.experts_used;
    layer.mixture.sum_to_one = c.routes_sum_to_one;
    const auto part = [&](const char* name, size_t e) {
      return Linear{tensors_.at(prefix + name + "_exps.weight")[e], {}};
    };
    for (size_t e = 0; e < static_cast<size_t>(c.experts); ++e)
      layer.mixture.experts.push_back({c.activation, part("ffn_gate", e), part("ffn_up", e), part("ffn_down", e)});
    return;
  }
  FeedForward& f = layer.feed_forward;
  f.activation = c.activation;
  f.up = linear(prefix + "ffn_up");
  f.down = linear(prefix + "ffn_down");
  if (c.fused_gate) {
    const View both = f.up.weight;
    f.gate.weight = both.slice_rows(0, c.ffn), f.up.weight = both.slice_rows(c.ffn, int64_t{2} * c.ffn);
  } else if (c.gated) {
    f.gate = linear(prefix + "ffn_gate");
  }
}

namespace {

// Of each new token, from its sequence's place in the cache; counts: [B] of each sequence.
void read_positions(const Step& step, const KvCache& cache, int32_t* positions, int32_t* counts) {
  const auto rows = static_cast<int64_t>(step.tokens.size());
  int64_t row = 0;
  for (size_t b = 0; b < step.sequences.size(); ++b) {
    const auto [id, count] = step.sequences[b];
    const int64_t start = cache.position(id) - count;
    LK_REQUIRE(count >= 1 && cache.length(id) >= count && row + count <= rows, kInvalidArgument,
               "[forward] sequence {} has {} new of {} cached tokens, {} in the step", b, count, cache.length(id),
               rows);
    for (int32_t i = 0; i < count; ++i) positions[row++] = static_cast<int32_t>(start + i);
    counts[b] = count;
  }
  LK_REQUIRE(row == rows, kInvalidArgument, "[forward] {} tokens, but the sequences count {}", rows, row);
}

}  // namespace

StepStatistics Decoder::forward(const Context& context, const Method& method, KvCache& cache, const Step& step) const {
  const ModelConfig& c = checkpoint_.config();
  const auto rows = static_cast<int64_t>(step.tokens.size());
  Scratch::Frame frame(context.scratch);
  auto* positions = frame.take<int32_t>(rows);
  auto* counts = frame.take<int32_t>(static_cast<int64_t>(step.sequences.size()));
  read_positions(step, cache, positions, counts);

  View x = frame.take_f32({rows, c.width});
  embed_tokens(context, step, {positions, static_cast<size_t>(rows)}, x);
  auto* kv = frame.take<KvPages>(static_cast<int64_t>(step.sequences.size()));
  StepStatistics statistics;
  for (int i = 0; i < c.layers; ++i) {
    const Layer& layer = layers_[static_cast<size_t>(i)];
    for (size_t b = 0; b < step.sequences.size(); ++b) kv[b] = cache.pages(step.sequences[b].id, i);
    Scratch::Frame layer_frame(context.scratch);
    const LayerStep layer_step{.context = context,
                               .frame = layer_frame,
                               .shape = shape_.attention,
                               .layer = i,
                               .projections = layer.projections,
                               .kv = {kv, step.sequences.size()},
                               .counts = {counts, step.sequences.size()},
                               .positions = {positions, static_cast<size_t>(rows)},
                               .inverse_frequency = vector_view(frequencies(layer, cache)),
                               .rope_layout = c.rope.layout,
                               .rope_amplitude = has_own_rope(layer) ? 1 : c.rope.amplitude,
                               .window = layer.window};
    const View attended = layer_frame.take_f32({rows, c.width}), fed = layer_frame.take_f32({rows, c.width});
    statistics.attention_bytes += attend(layer_step, method, layer, x, attended);
    if (!c.parallel) add(context, {x, attended});
    feed_forward(context, layer, x, fed);
    if (c.parallel) add(context, {x, attended});
    add(context, {x, fed});
  }
  for (const StepSequence& s : step.sequences)
    cache.evict(s.id, method.kept({.length = cache.length(s.id), .seen = cache.position(s.id), .count = s.count}));
  write_logits(context, step, x);
  return statistics;
}

void Decoder::embed_tokens(const Context& context, const Step& step, std::span<const int32_t> positions, View x) const {
  const ModelConfig& c = checkpoint_.config();
  embed(context, {embedding_, step.tokens, x});
  if (c.embedding_scale != 1)
    std::transform(x.f32(), x.f32() + x.elements(), x.f32(), [&](float v) { return v * c.embedding_scale; });
  if (!positions_) return;
  const int32_t last = *std::max_element(positions.begin(), positions.end());
  LK_REQUIRE(last < c.context, kInvalidArgument,
             "[forward] position {}, must be below {}, what the model was trained for", last, c.context);
  Scratch::Frame frame(context.scratch);
  const View rows = frame.take_f32({x.rows(), x.columns()});
  embed(context, {positions_, positions, rows});
  add(context, {x, rows});
}

// Longrope has frequencies for short contexts and for long ones, and keys turned by one do not go with queries turned
// by the other. Which it is follows from what the cache can hold, so that it never changes within a sequence.
const std::vector<float>& Decoder::frequencies(const Layer& layer, const KvCache& cache) const noexcept {
  const RopeConfig& rope = checkpoint_.config().rope;
  if (has_own_rope(layer)) return window_frequency_;
  const bool few = rope.scaling == RopeScaling::kLongRope && cache.shape().max_tokens <= rope.original_context;
  return few ? short_frequency_ : frequency_;
}

// out = output(attention(norm(x))); returns the bytes that attention read.
int64_t Decoder::attend(const LayerStep& step, const Method& method, const Layer& layer, View x, View out) const {
  const AttentionShape& s = shape_.attention;
  const int64_t rows = x.rows();
  Scratch::Frame& frame = step.frame;
  layer.attention_norm.apply(step.context, x, out);
  const Qkv qkv{.q = frame.take_f32({rows, s.heads, s.head_dim}),
                .k = frame.take_f32({rows, s.kv_heads, s.head_dim}),
                .v = frame.take_f32({rows, s.kv_heads, s.head_dim})};
  method.project(step, out, qkv);
  method.append(step, qkv);
  const Selection selection = method.select(step, qkv.q);
  View attended = frame.take_f32({rows, s.heads, s.head_dim});
  method.attend(step, qkv.q, selection, attended);
  layer.output.apply(step.context, f32_view(attended.f32(), {rows, int64_t{s.heads} * s.head_dim}), out);
  if (!layer.attention_post_norm.gain.empty()) layer.attention_post_norm.apply(step.context, out, out);
  return selection.bytes_read(step);
}

// out = feed_forward(norm(x))
void Decoder::feed_forward(const Context& context, const Layer& layer, View x, View out) const {
  Scratch::Frame frame(context.scratch);
  const View h = frame.take_f32({x.rows(), x.columns()});
  layer.ffn_norm.apply(context, x, h);
  if (layer.mixture.experts.empty()) {
    layer.feed_forward.apply(context, h, out);
  } else {
    layer.mixture.apply(context, h, out);
  }
  if (!layer.ffn_post_norm.gain.empty()) layer.ffn_post_norm.apply(context, out, out);
}

void Decoder::write_logits(const Context& context, const Step& step, View x) const {
  const auto wanted = static_cast<int64_t>(step.logit_rows.size());
  if (wanted == 0) return;
  LK_REQUIRE(step.logits.rows() == wanted && step.logits.columns() == shape_.vocabulary, kInvalidArgument,
             "[forward] logits are {}, must be [{}, {}]", step.logits.describe(), wanted, shape_.vocabulary);
  Scratch::Frame frame(context.scratch);
  View rows = frame.take_f32({wanted, x.columns()});
  for (int64_t r = 0; r < wanted; ++r) {
    const int32_t from = step.logit_rows[static_cast<size_t>(r)];
    LK_REQUIRE(from >= 0 && from < x.rows(), kInvalidArgument, "[forward] logit row {}, must be 0 to {}", from,
               x.rows() - 1);
    std::copy_n(x.f32_row(from), x.columns(), rows.f32_row(r));
  }
  output_norm_.apply(context, rows, rows);
  matmul(context, {rows, output_, step.logits});
  const float cap = checkpoint_.config().logit_cap;
  if (cap > 0) soft_cap(context, {step.logits, cap});
}

std::vector<std::string> Decoder::describe() const {
  std::vector<std::string> lines;
  for (const TensorSpec& spec : specs_) {
    if (spec.shape.size() < 2) continue;
    const std::vector<View>& parts = tensors_.at(spec.name);
    const std::string times = parts.size() > 1 ? fmt::format("{} x ", parts.size()) : "";
    lines.push_back(spec.name + " " + times + parts[0].describe());
  }
  return lines;
}

int64_t Decoder::weight_bytes() const noexcept {
  int64_t bytes = 0;
  for (const TensorSpec& spec : specs_)
    if (spec.shape.size() >= 2)
      for (const View& part : tensors_.find(spec.name)->second) bytes += part.bytes();
  return bytes;
}

std::string Decoder::fingerprint() const {
  const ModelConfig& c = checkpoint_.config();
  uint64_t hash = fnv1a(std::as_bytes(std::span(output_norm_.gain)));
  for (const Layer& layer : layers_)
    for (const auto* norm : {&layer.attention_norm.gain, &layer.ffn_norm.gain})
      hash = fnv1a(std::as_bytes(std::span(*norm)), hash);
  const std::string rope = [&]() -> std::string {
    if (c.rope.dims == 0) return "none";
    // Files state the scaling of RoPE in several ways; what it does to the slowest pair is the same in all of them.
    const double unscaled = std::pow(c.rope.base, -(c.rope.dims - 2.0) / c.rope.dims);
    return fmt::format("{:g}x{:.3g}", c.rope.base, frequency_.back() / unscaled);
  }();
  return fmt::format("{}-L{}-C{}-H{}-KH{}-D{}-F{}-V{}-rope{}-{:016x}", c.family->architecture, c.layers, c.width,
                     c.heads, c.kv_heads, c.head_dim, c.ffn, c.vocabulary, rope, hash);
}

}  // namespace lowkey
