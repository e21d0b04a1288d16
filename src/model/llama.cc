#include "model/llama.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/fnv1a.h"
#include "ops/add.h"
#include "ops/embed.h"
#include "ops/matmul.h"
#include "ops/quantize.h"
#include "ops/rmsnorm.h"
#include "ops/swiglu.h"

namespace lowkey {
namespace {

// A small vector of the checkpoint, as f32.
std::vector<float> floats(const Checkpoint& file, const std::string& name, int64_t size) {
  const View stored = file.require(name, {size});
  LK_REQUIRE(!is_quantised(stored.dtype), kUnsupported, "[model] {}: tensor {} is {}, must be f32, f16 or bf16",
             file.path(), name, lowkey::name(stored.dtype));
  std::vector<float> values(static_cast<size_t>(size));
  dequantize_row(stored.dtype, stored.data, values.data(), size);
  return values;
}

}  // namespace

Llama::Llama(Checkpoint checkpoint) : checkpoint_(std::move(checkpoint)) {
  const LlamaConfig& c = checkpoint_.config();
  shape_ = {.attention = {c.layers, c.heads, c.kv_heads, c.head_dim, c.width, c.rope_layout},
            .vocabulary = c.vocabulary,
            .context = c.context};
  embedding_ = checkpoint_.require("token_embd.weight", {c.vocabulary, c.width});
  output_ = c.tied ? embedding_ : checkpoint_.require("output.weight", {c.vocabulary, c.width});
  output_norm_ = floats(checkpoint_, "output_norm.weight", c.width);
  std::vector<float> factors;
  if (checkpoint_.find("rope_freqs.weight") != nullptr)
    factors = floats(checkpoint_, "rope_freqs.weight", c.head_dim / 2);
  for (float factor : factors)
    LK_REQUIRE(std::isfinite(factor) && factor > 0, kCorruptFile,
               "[model] {}: rope_freqs.weight holds {}, must be finite and > 0", checkpoint_.path(), factor);
  inverse_frequency_ = inverse_frequencies(c, factors.empty() ? nullptr : factors.data());

  const int64_t query_width = int64_t{c.heads} * c.head_dim, kv_width = int64_t{c.kv_heads} * c.head_dim;
  for (int i = 0; i < c.layers; ++i) {
    const std::string prefix = "blk." + std::to_string(i) + ".";
    const auto matrix = [&](const char* name, int64_t rows, int64_t columns) {
      return checkpoint_.require(prefix + name, {rows, columns});
    };
    layers_.push_back({.attention_norm = floats(checkpoint_, prefix + "attn_norm.weight", c.width),
                       .ffn_norm = floats(checkpoint_, prefix + "ffn_norm.weight", c.width),
                       .projections = {.q = matrix("attn_q.weight", query_width, c.width),
                                       .k = matrix("attn_k.weight", kv_width, c.width),
                                       .v = matrix("attn_v.weight", kv_width, c.width),
                                       .output = matrix("attn_output.weight", c.width, query_width)},
                       .gate = matrix("ffn_gate.weight", c.ffn, c.width),
                       .up = matrix("ffn_up.weight", c.ffn, c.width),
                       .down = matrix("ffn_down.weight", c.width, c.ffn)});
  }
}

StepStatistics Llama::forward(const Context& context, const Method& method, KvCache& cache, const Step& step) const {
  const auto rows = static_cast<int64_t>(step.tokens.size());
  Scratch::Frame frame(context.scratch);
  auto* positions = frame.take<int32_t>(rows);
  auto* counts = frame.take<int32_t>(static_cast<int64_t>(step.sequences.size()));
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

  View x = frame.take_f32({rows, shape_.attention.width});
  embed(context, {embedding_, step.tokens, x});
  auto* kv = frame.take<KvPages>(static_cast<int64_t>(step.sequences.size()));
  StepStatistics statistics;
  for (int i = 0; i < shape_.attention.layers; ++i) {
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
                               .inverse_frequency = vector_view(inverse_frequency_),
                               .rope_layout = checkpoint_.config().rope_layout};
    statistics.attention_bytes += attend(layer_step, method, layer, x);
    feed_forward(context, layer, x);
  }
  for (const StepSequence& s : step.sequences)
    cache.evict(s.id, method.kept({.length = cache.length(s.id), .seen = cache.position(s.id), .count = s.count}));
  write_logits(context, step, x);
  return statistics;
}

// x += output(attention(norm(x))); returns the bytes that attention read.
int64_t Llama::attend(const LayerStep& step, const Method& method, const Layer& layer, View x) const {
  const AttentionShape& s = shape_.attention;
  const int64_t rows = x.rows();
  Scratch::Frame& frame = step.frame;
  View h = frame.take_f32({rows, s.width});
  rmsnorm(step.context, {x, vector_view(layer.attention_norm), checkpoint_.config().norm_epsilon, h});
  const Qkv qkv{.q = frame.take_f32({rows, s.heads, s.head_dim}),
                .k = frame.take_f32({rows, s.kv_heads, s.head_dim}),
                .v = frame.take_f32({rows, s.kv_heads, s.head_dim})};
  method.project(step, h, qkv);
  method.append(step, qkv);
  const Selection selection = method.select(step, qkv.q);
  View attended = frame.take_f32({rows, s.heads, s.head_dim});
  method.attend(step, qkv.q, selection, attended);
  matmul(step.context, {f32_view(attended.f32(), {rows, int64_t{s.heads} * s.head_dim}), layer.projections.output, h});
  add(step.context, {x, h});
  return selection.bytes_read(step);
}

// x += down(silu(gate(norm(x))) * up(norm(x)))
void Llama::feed_forward(const Context& context, const Layer& layer, View x) const {
  const int64_t rows = x.rows();
  Scratch::Frame frame(context.scratch);
  View h = frame.take_f32({rows, x.columns()});
  rmsnorm(context, {x, vector_view(layer.ffn_norm), checkpoint_.config().norm_epsilon, h});
  View gate = frame.take_f32({rows, checkpoint_.config().ffn});
  View up = frame.take_f32({rows, checkpoint_.config().ffn});
  const MatmulPart parts[] = {{layer.gate, gate}, {layer.up, up}};
  matmul_parts(context, h, parts, 2);
  swiglu(context, {gate, up, gate});
  matmul(context, {gate, layer.down, h});
  add(context, {x, h});
}

void Llama::write_logits(const Context& context, const Step& step, View x) const {
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
  rmsnorm(context, {rows, vector_view(output_norm_), checkpoint_.config().norm_epsilon, rows});
  matmul(context, {rows, output_, step.logits});
}

std::vector<std::string> Llama::describe() const {
  std::vector<std::string> lines{"token_embd.weight " + embedding_.describe()};
  for (size_t i = 0; i < layers_.size(); ++i) {
    const Layer& l = layers_[i];
    const std::pair<const char*, View> parts[] = {{"attn_q", l.projections.q}, {"attn_k", l.projections.k},
                                                  {"attn_v", l.projections.v}, {"attn_output", l.projections.output},
                                                  {"ffn_gate", l.gate},        {"ffn_up", l.up},
                                                  {"ffn_down", l.down}};
    for (const auto& [name, view] : parts)
      lines.push_back("blk." + std::to_string(i) + "." + name + ".weight " + view.describe());
  }
  if (output_.data != embedding_.data) lines.push_back("output.weight " + output_.describe());
  return lines;
}

int64_t Llama::weight_bytes() const noexcept {
  int64_t bytes = embedding_.bytes() + (output_.data == embedding_.data ? 0 : output_.bytes());
  for (const Layer& l : layers_)
    for (const View& w :
         {l.projections.q, l.projections.k, l.projections.v, l.projections.output, l.gate, l.up, l.down})
      bytes += w.bytes();
  return bytes;
}

std::string Llama::fingerprint() const {
  const LlamaConfig& c = checkpoint_.config();
  uint64_t hash = fnv1a(std::as_bytes(std::span(output_norm_)));
  for (const Layer& layer : layers_)
    for (const auto* norm : {&layer.attention_norm, &layer.ffn_norm})
      hash = fnv1a(std::as_bytes(std::span(*norm)), hash);
  // Files state the scaling of RoPE in several ways; what it does to the slowest pair is the same in all of them.
  const double unscaled = std::pow(c.rope_base, -(c.head_dim - 2.0) / c.head_dim);
  return fmt::format("llama-L{}-C{}-H{}-KH{}-D{}-F{}-V{}-rope{:g}x{:.3g}-{:016x}", c.layers, c.width, c.heads,
                     c.kv_heads, c.head_dim, c.ffn, c.vocabulary, c.rope_base, inverse_frequency_.back() / unscaled,
                     hash);
}

}  // namespace lowkey
