#include "engine/embedder.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace lowkey {

struct Embedder::Batch {
  std::vector<int32_t> tokens, counts;  // [T], [B]
  std::vector<TextResult> results;      // [B]
};

Embedder::Embedder(const Context& context, const Encoder& encoder, const Tokenizer& tokenizer, const Method& method,
                   const EmbedderOptions& options)
    : context_(context), encoder_(encoder), tokenizer_(tokenizer), method_(method), options_(options) {
  int64_t& most = options_.rules.max_tokens;
  const int64_t readable = encoder.shape().context;
  LK_REQUIRE(most >= 0 && most <= readable, kInvalidArgument, "[embed] {} tokens a text, must be 1 to {}", most,
             readable);
  if (most == 0) most = readable;
  LK_REQUIRE(options.batch >= 1, kInvalidArgument, "[embed] batch={}, must be >= 1", options.batch);
  LK_REQUIRE(tokenizer.vocabulary_size() <= encoder.shape().vocabulary, kCorruptFile,
             "[embed] the tokenizer has {} tokens, the model {}", tokenizer.vocabulary_size(),
             encoder.shape().vocabulary);
}

// A text that is too long loses its end, but keeps the special token there.
void Embedder::add(const std::string& text, Batch* batch) const {
  std::vector<int32_t> ids = tokenizer_.encode(text, {.add_bos = true, .parse_special = options_.parse_special});
  LK_REQUIRE(!ids.empty(), kInvalidArgument, "[embed] a text without tokens, and the model adds none");
  const int64_t size = std::ssize(ids), most = options_.rules.max_tokens;
  if (size > most) {
    if (tokenizer_.spec().add_eos) ids[static_cast<size_t>(most) - 1] = ids.back();
    ids.resize(static_cast<size_t>(most));
  }
  batch->tokens.insert(batch->tokens.end(), ids.begin(), ids.end());
  batch->counts.push_back(static_cast<int32_t>(ids.size()));
  batch->results.push_back({.values = {}, .tokens = std::ssize(ids), .left_out = std::max<int64_t>(size - most, 0)});
}

void Embedder::read(TextTask task, Batch* batch, KvCache& cache, std::vector<TextResult>* results) const {
  const int64_t rows = std::ssize(batch->tokens), texts = std::ssize(batch->counts);
  const int64_t width = encoder_.shape().attention.width;
  const int64_t outputs = task == TextTask::kEmbed ? width : std::ssize(encoder_.classes().labels);
  const TextBatch read{.tokens = batch->tokens, .counts = batch->counts};
  Scratch::Frame frame(context_.scratch);
  View hidden = frame.take_f32({rows, width}), out = frame.take_f32({texts, outputs});
  encoder_.encode(context_, method_, cache, read, hidden);
  if (task == TextTask::kEmbed) {
    pool(read, hidden, options_.rules, out);
  } else {
    encoder_.classify(context_, read, hidden, out);
  }
  for (int64_t b = 0; b < texts; ++b) {
    TextResult& result = batch->results[static_cast<size_t>(b)];
    result.values.assign(out.f32_row(b), out.f32_row(b) + outputs);
    results->push_back(std::move(result));
  }
  *batch = {};
}

std::vector<TextResult> Embedder::run(std::span<const std::string> texts, TextTask task,
                                      const std::function<bool(int64_t done, int64_t total)>& go_on) const {
  LK_REQUIRE(task == TextTask::kEmbed || !encoder_.classes().labels.empty(), kUnsupported,
             "[embed] the model has no classifier");
  // A batch is closed once it is full: it is at most one text longer. A text may fill a page with one token.
  const int64_t page = encoder_kv_shape(encoder_.shape(), method_, options_.kv_type, 1).page_tokens;
  KvCache cache(encoder_kv_shape(encoder_.shape(), method_, options_.kv_type,
                                 (options_.batch + options_.rules.max_tokens) * page));
  std::vector<TextResult> results;
  Batch batch;
  for (size_t i = 0; i < texts.size(); ++i) {
    add(texts[i], &batch);
    if (std::ssize(batch.tokens) < options_.batch && i + 1 < texts.size()) continue;
    read(task, &batch, cache, &results);
    if (!go_on(std::ssize(results), std::ssize(texts))) break;
  }
  return results;
}

void to_probabilities(ClassKind kind, std::span<float> scores) noexcept {
  if (kind == ClassKind::kValue || scores.empty()) return;
  const double max = *std::max_element(scores.begin(), scores.end());
  double sum = 0;
  for (float s : scores) sum += std::exp(s - max);
  for (float& s : scores)
    s = static_cast<float>(kind == ClassKind::kEach ? 1 / (1 + std::exp(-double{s})) : std::exp(s - max) / sum);
}

}  // namespace lowkey
