#include "engine/engine.h"

#include <algorithm>
#include <chrono>

#include "base/error.h"
#include "engine/stop_strings.h"

namespace lowkey {
namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

int64_t checked_context(const EngineOptions& options, const Model& model) {
  constexpr int64_t kMost = int64_t{1} << 30;
  LK_REQUIRE(options.context >= 0 && options.context <= kMost, kInvalidArgument, "[engine] context={}, must be 0 to {}",
             options.context, kMost);
  return options.context == 0 ? model.shape().context : options.context;
}

}  // namespace

std::string_view name(FinishReason reason) noexcept {
  constexpr std::string_view kNames[] = {"stop", "length", "context", "cancelled"};
  return kNames[static_cast<int>(reason)];
}

Engine::Engine(const Context& execution, const Model& model, const Tokenizer& tokenizer, const Method& method,
               const EngineOptions& options)
    : execution_(execution),
      model_(model),
      tokenizer_(tokenizer),
      method_(method),
      context_(checked_context(options, model)),
      chunk_(options.chunk),
      cache_(kv_shape(model.shape(), method, options.kv_type, context_)),
      sequence_(cache_.open()) {
  LK_REQUIRE(options.chunk >= 1, kInvalidArgument, "[engine] chunk={}, must be >= 1", options.chunk);
  LK_REQUIRE(tokenizer.vocabulary_size() <= model.shape().vocabulary, kCorruptFile,
             "[engine] the tokenizer has {} tokens, the model {}", tokenizer.vocabulary_size(),
             model.shape().vocabulary);
}

StepStatistics Engine::step(std::span<const int32_t> tokens, std::span<float> logits) {
  const auto count = static_cast<int32_t>(tokens.size());
  LK_REQUIRE(cache_.grow(sequence_, count), kInternal, "[engine] no room for {} tokens", count);
  const StepSequence sequence{sequence_, count};
  const int32_t last = count - 1;
  Step step{.tokens = tokens, .sequences = {&sequence, 1}, .logit_rows = {}, .logits = {}};
  if (!logits.empty()) {
    step.logit_rows = {&last, 1};
    step.logits = f32_view(logits.data(), {1, static_cast<int64_t>(logits.size())});
  }
  const StepStatistics statistics = model_.forward(execution_, method_, cache_, step);
  cached_.insert(cached_.end(), tokens.begin(), tokens.end());
  return statistics;
}

bool Engine::read(const std::vector<int32_t>& tokens, std::span<float> logits, const Events& events) {
  const auto total = static_cast<int64_t>(tokens.size());
  LK_REQUIRE(total >= 1, kInvalidArgument, "[engine] the prompt is empty");
  LK_REQUIRE(total <= context_, kInvalidArgument, "[engine] the prompt has {} tokens, the context holds {}", total,
             context_);
  for (int32_t id : tokens)
    LK_REQUIRE(id >= 0 && id < model_.shape().vocabulary, kInvalidArgument, "[engine] token {}, must be 0 to {}", id,
               model_.shape().vocabulary - 1);
  model_.check_unchanged();
  // Keep what the cache and the prompt share, but compute the last token anew: its logits are wanted.
  const auto most = static_cast<size_t>(total - 1);
  const auto end = tokens.begin() + static_cast<int64_t>(std::min(most, cached_.size()));
  int64_t shared = std::mismatch(tokens.begin(), end, cached_.begin()).first - tokens.begin();
  // A method that evicts leaves no prefix behind, only the whole to go on from.
  const bool evicted = cache_.position(sequence_) > cache_.length(sequence_);
  if (evicted && shared < static_cast<int64_t>(cached_.size())) shared = 0;
  if (!evicted || shared == 0) cache_.truncate(sequence_, shared);
  cached_.resize(static_cast<size_t>(shared));
  for (int64_t done = shared; done < total;) {
    if (events.cancelled && events.cancelled()) return false;
    const int64_t count = std::min<int64_t>(chunk_, total - done);
    const std::span<const int32_t> chunk(tokens.data() + done, static_cast<size_t>(count));
    done += count;
    step(chunk, done == total ? logits : std::span<float>{});
    if (events.on_prompt) events.on_prompt(done - shared, total - shared);
  }
  return true;
}

Result Engine::generate(const Request& request, const Events& events) {
  LK_REQUIRE(request.max_tokens >= 0, kInvalidArgument, "[engine] max_tokens={}, must be >= 0", request.max_tokens);
  Result result;
  result.prompt_tokens = static_cast<int64_t>(request.prompt.size());
  std::vector<float> logits(static_cast<size_t>(model_.shape().vocabulary));
  const auto start = std::chrono::steady_clock::now();
  int64_t read_anew = result.prompt_tokens;
  Events watched = events;
  watched.on_prompt = [&](int64_t done, int64_t total) {
    read_anew = total;
    if (events.on_prompt) events.on_prompt(done, total);
  };
  if (!read(request.prompt, logits, watched)) {
    result.finish_reason = FinishReason::kCancelled;
    return result;
  }
  result.reused_tokens = result.prompt_tokens - read_anew;
  result.prompt_seconds = seconds_since(start);
  decode(request, events, result, logits);
  return result;
}

void Engine::decode(const Request& request, const Events& events, Result& result, std::span<float> logits) {
  Sampler sampler(request.sampler);
  StopStrings stops(request.stop);
  StreamDecoder decoder(tokenizer_);
  const auto show = [&](int32_t id, const std::string& text) {
    result.text += text;
    if (events.on_token) events.on_token(id, text);
  };
  const auto start = std::chrono::steady_clock::now();
  std::vector<int32_t> all = request.prompt;
  result.finish_reason = FinishReason::kLength;
  while (static_cast<int64_t>(result.tokens.size()) < request.max_tokens) {
    const int32_t id = sampler.sample(logits, all);
    if (!request.ignore_end && tokenizer_.ends_generation(id)) {
      result.finish_reason = FinishReason::kStop;
      break;
    }
    result.tokens.push_back(id);
    all.push_back(id);
    // A vocabulary may be padded with ids that have no text.
    show(id, stops.push(id < tokenizer_.vocabulary_size() ? decoder.push(id) : std::string()));
    if (stops.stopped()) {
      result.finish_reason = FinishReason::kStop;
      break;
    }
    if (static_cast<int64_t>(result.tokens.size()) == request.max_tokens) break;
    if (static_cast<int64_t>(cached_.size()) == context_) {
      result.finish_reason = FinishReason::kContext;
      break;
    }
    if (events.cancelled && events.cancelled()) {
      result.finish_reason = FinishReason::kCancelled;
      break;
    }
    result.attention_bytes += step({&id, 1}, logits).attention_bytes;
    ++result.decode_steps;
  }
  const std::string rest = stops.push(decoder.finish()) + stops.finish();
  if (!rest.empty()) show(result.tokens.back(), rest);
  result.decode_seconds = seconds_since(start);
}

}  // namespace lowkey
