// Engine: request -> steps -> tokens. It owns the cache; it knows neither what a layer computes nor which keys a
// method reads. The cache keeps the last request's tokens, so a request that begins like it reads only what is new.
//
// Not thread-safe: one engine serves one caller at a time.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "engine/sampler.h"
#include "model/model.h"
#include "text/tokenizer.h"

namespace lowkey {

struct Request {
  std::vector<int32_t> prompt;  // at least one token
  int64_t max_tokens = 128;     // >= 0
  SamplerOptions sampler;
  std::vector<std::string> stop;  // generation ends before the first of these; none of them is shown
  bool ignore_end = false;        // go on past end-of-text tokens
};

enum class FinishReason { kStop, kLength, kContext, kCancelled };
std::string_view name(FinishReason) noexcept;  // "stop", "length", "context", "cancelled"

struct Result {
  std::vector<int32_t> tokens;  // generated, an ending token left out
  std::string text;
  FinishReason finish_reason = FinishReason::kLength;
  int64_t prompt_tokens = 0;
  int64_t reused_tokens = 0;  // of them, found in the cache
  double prompt_seconds = 0;
  int64_t decode_steps = 0;  // forward passes of one token each
  double decode_seconds = 0;
  int64_t attention_bytes = 0;  // read by the decode steps
};

// All are optional. They run on the caller's thread.
struct Events {
  std::function<void(int64_t done, int64_t total)> on_prompt;         // after each chunk
  std::function<void(int32_t id, const std::string& text)> on_token;  // text: what became certain, maybe ""
  std::function<bool()> cancelled;                                    // asked before each step
};

struct EngineOptions {
  int64_t context = 0;          // most tokens of prompt and answer; 0: what the model was trained for
  int chunk = 512;              // prompt tokens a step
  DType kv_type = DType::kF16;  // kF16, kBF16, kF32, kI8, kI8I4
};

class Engine {
 public:
  // The references must outlive the engine. Throws kInvalidArgument, kOutOfMemory.
  Engine(const Context&, const Model&, const Tokenizer&, const Method&, const EngineOptions&);

  // Throws kInvalidArgument when the prompt is empty or does not fit the context.
  Result generate(const Request&, const Events& events = {});
  // Reads the tokens and keeps them, as the beginning of requests to come; the logits of the last one into `logits`
  // [V]. False when cancelled.
  bool read(const std::vector<int32_t>& tokens, std::span<float> logits, const Events& events = {});

  int64_t context() const noexcept { return context_; }
  const KvCache& cache() const noexcept { return cache_; }

 private:
  StepStatistics step(std::span<const int32_t> tokens, std::span<float> logits);
  void decode(const Request&, const Events&, Result&, std::span<float> logits);

  const Context& execution_;
  const Model& model_;
  const Tokenizer& tokenizer_;
  const Method& method_;
  int64_t context_;
  int chunk_;
  KvCache cache_;
  KvCache::SequenceId sequence_;
  std::vector<int32_t> cached_;  // the tokens whose keys and values the cache holds
};

}  // namespace lowkey
