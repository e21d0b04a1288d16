#include "lab/bench_model.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <random>

#include "base/error.h"
#include "lab/append_tokens.h"
#include "lab/statistics.h"

namespace lowkey {
namespace {

// Adds `count` random tokens to every layer of the sequence.
void fill(const Context& context, const Model& model, const Method& method, KvCache& cache, KvCache::SequenceId id,
          int64_t count) {
  const AttentionShape& shape = model.shape().attention;
  constexpr int64_t kBlock = 256;
  std::vector<float> noise(static_cast<size_t>(kBlock * shape.kv_heads * shape.head_dim));
  std::minstd_rand random(1);
  for (float& x : noise) x = static_cast<float>(static_cast<int>(random() % 2001) - 1000) * 1e-3f;
  for (int64_t done = 0; done < count;) {
    const int64_t block = std::min(kBlock, count - done);
    LK_REQUIRE(cache.grow(id, block), kInternal, "[bench] no room for {} tokens", block);
    const View values = f32_view(noise.data(), {block, shape.kv_heads, shape.head_dim});
    for (int layer = 0; layer < shape.layers; ++layer)
      append_tokens(context, method,
                    {.shape = shape, .kv = cache.pages(id, layer), .layer = layer, .k = values, .v = values});
    done += block;
  }
}

void check(const Model& model, const BenchModelOptions& o) {
  LK_REQUIRE(o.depth >= 0 && o.tokens >= 1 && o.depth + o.tokens <= (int64_t{1} << 30), kInvalidArgument,
             "[bench] depth={} tokens={}, must be >= 0 and >= 1", o.depth, o.tokens);
  LK_REQUIRE(o.repetitions >= 1 && o.chunk >= 1, kInvalidArgument, "[bench] repetitions={} chunk={}, must be >= 1",
             o.repetitions, o.chunk);
  LK_REQUIRE(model.shape().vocabulary >= 1, kInternal, "[bench] a model without a vocabulary");
}

// One method with its cache.
class Runner {
 public:
  Runner(const Context& context, const Model& model, const Method& method, const BenchModelOptions& options)
      : context_(context),
        model_(model),
        method_(method),
        options_(options),
        cache_(kv_shape(model.shape(), method, options.kv_type, options.depth + 1 + options.tokens)),
        sequence_(cache_.open()),
        tokens_(static_cast<size_t>(options.tokens)),
        logits_(static_cast<size_t>(model.shape().vocabulary)) {
    for (size_t i = 0; i < tokens_.size(); ++i) tokens_[i] = static_cast<int32_t>(i * 7919 % logits_.size());
    fill(context_, model_, method_, cache_, sequence_, options_.depth);
    step(0);  // untimed, so that pages are there and scratch is warm
  }

  void run() {
    rewind();
    result_.attention_bytes = 0;
    const auto start = std::chrono::steady_clock::now();
    for (int64_t done = 0; done < options_.tokens; done += options_.chunk) result_.attention_bytes += step(done);
    result_.seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }

  BenchModelResult result() const {
    BenchModelResult result = result_;
    result.kv_bytes_per_token = cache_.bytes_per_token() + cache_.plane_bytes_per_token();
    result.cache_bytes = result.kv_bytes_per_token * cache_.length(sequence_);
    return result;
  }

 private:
  // Returns the bytes that attention read.
  int64_t step(int64_t begin) {
    const int64_t size = std::min<int64_t>(options_.chunk, options_.tokens - begin);
    cache_.grow(sequence_, size);
    const StepSequence sequence{sequence_, static_cast<int32_t>(size)};
    const auto last = static_cast<int32_t>(size - 1);
    const View out = f32_view(logits_.data(), {1, static_cast<int64_t>(logits_.size())});
    const std::span<const int32_t> tokens(tokens_.data() + begin, static_cast<size_t>(size));
    return model_.forward(context_, method_, cache_, {tokens, {&sequence, 1}, {&last, 1}, out}).attention_bytes;
  }

  void rewind() {
    if (!method_.evicts()) return cache_.truncate(sequence_, options_.depth);
    cache_.truncate(sequence_, 0);  // what was evicted has to come again; the first step evicts it again
    fill(context_, model_, method_, cache_, sequence_, options_.depth);
    step(0);
  }

  const Context& context_;
  const Model& model_;
  const Method& method_;
  const BenchModelOptions& options_;
  KvCache cache_;
  KvCache::SequenceId sequence_;
  std::vector<int32_t> tokens_;
  std::vector<float> logits_;  // [V]
  BenchModelResult result_;
};

}  // namespace

std::vector<BenchModelResult> bench_model(const Context& context, const Model& model,
                                          std::span<const Method* const> methods, const BenchModelOptions& options,
                                          DramProbe& probe, const BenchProgress& progress) {
  check(model, options);
  std::vector<std::unique_ptr<Runner>> runners;
  for (const Method* method : methods) runners.push_back(std::make_unique<Runner>(context, model, *method, options));
  std::vector<double> rates;
  const int total = options.repetitions * static_cast<int>(runners.size());
  for (int r = 0, done = 0; r < options.repetitions; ++r) {
    rates.push_back(probe.read());
    for (const auto& runner : runners) runner->run(), progress(++done, total);
  }
  std::vector<BenchModelResult> results;
  for (const auto& runner : runners) {
    results.push_back(runner->result());
    results.back().probe_bytes_per_second = spread(rates).median;
  }
  return results;
}

}  // namespace lowkey
