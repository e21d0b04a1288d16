#include "model/bert.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "model/checkpoint.h"
#include "ops/add.h"
#include "ops/embed.h"
#include "ops/gelu.h"
#include "ops/quantize.h"

namespace lowkey {
namespace {

// The texts of a batch in the cache, for as long as they are read.
class OpenTexts {
 public:
  OpenTexts(KvCache& cache, std::span<const int32_t> counts) : cache_(cache) {
    try {
      for (int32_t count : counts) {
        ids_.push_back(cache.open());
        LK_REQUIRE(cache.grow(ids_.back(), count), kInvalidArgument,
                   "[encode] a batch of {} texts, must fit the cache ({} tokens free)", counts.size(),
                   cache.free_tokens());
      }
    } catch (...) {
      close();
      throw;
    }
  }
  ~OpenTexts() { close(); }
  OpenTexts(const OpenTexts&) = delete;
  OpenTexts& operator=(const OpenTexts&) = delete;

  // Of the one layer. [B]
  std::vector<KvPages> pages() const {
    std::vector<KvPages> pages;
    for (KvCache::SequenceId id : ids_) pages.push_back(cache_.pages(id, 0));
    return pages;
  }

 private:
  void close() {
    for (KvCache::SequenceId id : ids_) cache_.close(id);
  }
  KvCache& cache_;
  std::vector<KvCache::SequenceId> ids_;
};

}  // namespace

Bert::Bert(BertConfig config, Safetensors file) : config_(std::move(config)), file_(std::move(file)) {
  const BertConfig& c = config_;
  shape_ = {.attention = {.layers = c.layers,
                          .heads = c.heads,
                          .kv_heads = c.heads,
                          .head_dim = c.head_dim,
                          .width = c.width,
                          .causal = false},
            .vocabulary = c.vocabulary,
            .context = c.context};
  prefix_ = file_.find("bert.embeddings.word_embeddings.weight") != nullptr ? "bert." : "";
  words_ = tensor(prefix_ + "embeddings.word_embeddings.weight", {c.vocabulary, c.width});
  positions_ = tensor(prefix_ + "embeddings.position_embeddings.weight", {c.context, c.width});
  const View types = tensor(prefix_ + "embeddings.token_type_embeddings.weight", {c.types, c.width});
  type_.resize(static_cast<size_t>(c.width));
  dequantize_row(types.dtype, types.data, type_.data(), c.width);
  embedding_norm_ = norm(prefix_ + "embeddings.LayerNorm");
  for (int i = 0; i < c.layers; ++i) {
    const std::string layer = prefix_ + "encoder.layer." + std::to_string(i) + ".";
    layers_.push_back({.query = linear(layer + "attention.self.query", c.width, c.width),
                       .key = linear(layer + "attention.self.key", c.width, c.width),
                       .value = linear(layer + "attention.self.value", c.width, c.width),
                       .output = linear(layer + "attention.output.dense", c.width, c.width),
                       .up = linear(layer + "intermediate.dense", c.ffn, c.width),
                       .down = linear(layer + "output.dense", c.width, c.ffn),
                       .attention_norm = norm(layer + "attention.output.LayerNorm"),
                       .ffn_norm = norm(layer + "output.LayerNorm")});
  }
  if (c.classes.labels.empty()) return;
  pooler_ = linear(prefix_ + "pooler.dense", c.width, c.width);
  classifier_ = linear("classifier", std::ssize(c.classes.labels), c.width);
}

View Bert::tensor(const std::string& name, std::initializer_list<int64_t> shape) const {
  return checked_weights(file_.find(name), file_.path(), name, shape);
}

std::vector<float> Bert::vector(const std::string& name, int64_t size) const {
  const View stored = tensor(name, {size});
  std::vector<float> values(static_cast<size_t>(size));
  dequantize_row(stored.dtype, stored.data, values.data(), size);
  return values;
}

Linear Bert::linear(const std::string& name, int64_t outputs, int64_t inputs) const {
  return {tensor(name + ".weight", {outputs, inputs}), vector(name + ".bias", outputs)};
}

// Files converted from the first release, in TensorFlow, say gamma and beta.
Norm Bert::norm(const std::string& name) const {
  const bool old = file_.find(name + ".gamma") != nullptr;
  return {vector(name + (old ? ".gamma" : ".weight"), config_.width),
          vector(name + (old ? ".beta" : ".bias"), config_.width), config_.norm_epsilon};
}

void Bert::encode(const Context& context, const Method& method, KvCache& cache, const TextBatch& batch,
                  View hidden) const {
  check_batch(batch, shape_);
  const int64_t rows = std::ssize(batch.tokens);
  LK_REQUIRE(method.bidirectional(), kUnsupported,
             "[encode] the attention method reads only what came before a token, must read whole texts");
  LK_REQUIRE(hidden.dtype == DType::kF32 && hidden.rows() == rows && hidden.columns() == config_.width,
             kInvalidArgument, "[encode] hidden is {}, must be f32 [{}, {}]", hidden.describe(), rows, config_.width);
  Scratch::Frame frame(context.scratch);
  const std::span positions(frame.take<int32_t>(rows), batch.tokens.size());
  embed_tokens(context, batch, positions, hidden);
  const OpenTexts texts(cache, batch.counts);
  const std::vector<KvPages> kv = texts.pages();
  for (int i = 0; i < config_.layers; ++i) {
    const Layer& layer = layers_[static_cast<size_t>(i)];
    const Projections projections{.q = layer.query.weight,
                                  .k = layer.key.weight,
                                  .v = layer.value.weight,
                                  .q_bias = vector_view(layer.query.bias),
                                  .k_bias = vector_view(layer.key.bias),
                                  .v_bias = vector_view(layer.value.bias),
                                  .output = layer.output.weight};
    Scratch::Frame layer_frame(context.scratch);
    attend({.context = context,
            .frame = layer_frame,
            .shape = shape_.attention,
            .layer = i,
            .projections = projections,
            .kv = kv,
            .counts = batch.counts,
            .positions = positions,
            .inverse_frequency = {},
            .rope_layout = {}},
           method, layer, hidden);
    feed_forward(context, layer, hidden);
  }
}

// x = norm(word + position + type); positions count from the start of each text.
void Bert::embed_tokens(const Context& context, const TextBatch& batch, std::span<int32_t> positions, View x) const {
  auto next = positions.begin();
  for (int32_t count : batch.counts)
    for (int32_t i = 0; i < count; ++i) *next++ = i;
  embed(context, {words_, batch.tokens, x});
  Scratch::Frame frame(context.scratch);
  View h = frame.take_f32({x.rows(), x.columns()});
  embed(context, {positions_, positions, h});
  add(context, {x, h});
  add(context, {x, vector_view(type_)});
  embedding_norm_.apply(context, x, x);
}

// x = norm(x + output(attention(x)))
void Bert::attend(const LayerStep& step, const Method& method, const Layer& layer, View x) const {
  const AttentionShape& s = shape_.attention;
  const int64_t rows = x.rows();
  Scratch::Frame& frame = step.frame;
  const Qkv qkv{.q = frame.take_f32({rows, s.heads, s.head_dim}),
                .k = frame.take_f32({rows, s.kv_heads, s.head_dim}),
                .v = frame.take_f32({rows, s.kv_heads, s.head_dim})};
  method.project(step, x, qkv);
  method.append(step, qkv);
  const Selection selection = method.select(step, qkv.q);
  View attended = frame.take_f32({rows, s.heads, s.head_dim}), h = frame.take_f32({rows, s.width});
  method.attend(step, qkv.q, selection, attended);
  layer.output.apply(step.context, f32_view(attended.f32(), {rows, s.width}), h);
  add(step.context, {x, h});
  layer.attention_norm.apply(step.context, x, x);
}

// x = norm(x + down(gelu(up(x))))
void Bert::feed_forward(const Context& context, const Layer& layer, View x) const {
  Scratch::Frame frame(context.scratch);
  View inner = frame.take_f32({x.rows(), config_.ffn}), h = frame.take_f32({x.rows(), x.columns()});
  layer.up.apply(context, x, inner);
  gelu(context, {inner, inner});
  layer.down.apply(context, inner, h);
  add(context, {x, h});
  layer.ffn_norm.apply(context, x, x);
}

// classifier(tanh(pooler(first token)))
void Bert::classify(const Context& context, const TextBatch& batch, View hidden, View scores) const {
  check_batch(batch, shape_);
  const int64_t texts = std::ssize(batch.counts), classes = std::ssize(config_.classes.labels);
  LK_REQUIRE(classes > 0, kUnsupported, "[classify] {}: the model has no classifier", file_.path());
  LK_REQUIRE(hidden.rows() == std::ssize(batch.tokens) && hidden.columns() == config_.width && scores.rows() == texts &&
                 scores.columns() == classes,
             kInvalidArgument, "[classify] hidden {} and scores {}, must be [{}, {}] and [{}, {}]", hidden.describe(),
             scores.describe(), batch.tokens.size(), config_.width, texts, classes);
  Scratch::Frame frame(context.scratch);
  View first = frame.take_f32({texts, hidden.columns()}), pooled = frame.take_f32({texts, hidden.columns()});
  int64_t row = 0;
  for (int64_t b = 0; b < texts; ++b) {
    std::copy_n(hidden.f32_row(row), hidden.columns(), first.f32_row(b));
    row += batch.counts[static_cast<size_t>(b)];
  }
  pooler_.apply(context, first, pooled);
  std::transform(pooled.f32(), pooled.f32() + pooled.elements(), pooled.f32(), [](float v) { return std::tanh(v); });
  classifier_.apply(context, pooled, scores);
}

std::vector<std::string> Bert::describe() const {
  std::vector<std::string> lines;
  for (const auto& [name, view] : file_.tensors()) lines.push_back(name + " " + view.describe());
  return lines;
}

int64_t Bert::weight_bytes() const noexcept {
  int64_t bytes = 0;
  for (const auto& [name, view] : file_.tensors()) bytes += view.bytes();
  return bytes;
}

}  // namespace lowkey
