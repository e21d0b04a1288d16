#include "lab/bench_model.h"

#include <algorithm>
#include <chrono>
#include <random>

#include "base/error.h"
#include "lab/append_tokens.h"

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

void check(const Model& model, int64_t depth, int64_t count, const BenchModelOptions& options) {
  LK_REQUIRE(depth >= 0 && count >= 1 && depth + count <= (int64_t{1} << 30), kInvalidArgument,
             "[bench] depth={} count={}, must be >= 0 and >= 1", depth, count);
  LK_REQUIRE(options.repetitions >= 1 && options.chunk >= 1, kInvalidArgument,
             "[bench] repetitions={} chunk={}, must be >= 1", options.repetitions, options.chunk);
  LK_REQUIRE(model.shape().vocabulary >= 1, kInternal, "[bench] a model without a vocabulary");
}

// `count` tokens in steps of `chunk`, timed; one untimed step first, so that pages are there and scratch is warm.
BenchModelResult measure(const Context& context, const Model& model, const Method& method, int64_t depth, int64_t count,
                         int64_t chunk, const BenchModelOptions& options, const BenchProgress& progress) {
  check(model, depth, count, options);
  KvCache cache(kv_shape(model.shape(), method, options.kv_type, depth + 1 + count));
  const auto id = cache.open();
  fill(context, model, method, cache, id, depth);
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  for (size_t i = 0; i < tokens.size(); ++i)
    tokens[i] = static_cast<int32_t>(i * 7919 % static_cast<size_t>(model.shape().vocabulary));
  std::vector<float> logits(static_cast<size_t>(model.shape().vocabulary));
  BenchModelResult result{.depth = depth, .tokens = count, .seconds = {}};
  const auto step = [&](int64_t begin, int64_t size) {
    cache.grow(id, size);
    const StepSequence sequence{id, static_cast<int32_t>(size)};
    const auto last = static_cast<int32_t>(size - 1);
    const View out = f32_view(logits.data(), {1, model.shape().vocabulary});
    return model.forward(context, method, cache,
                         {{tokens.data() + begin, static_cast<size_t>(size)}, {&sequence, 1}, {&last, 1}, out});
  };
  const auto rewind = [&] {
    if (!method.evicts()) return cache.truncate(id, depth);
    cache.truncate(id, 0);  // what was evicted has to come again; the first step evicts it again
    fill(context, model, method, cache, id, depth);
    step(0, 1);
  };
  step(0, std::min(chunk, count));
  for (int r = 0; r < options.repetitions; ++r) {
    rewind();
    result.attention_bytes = 0;
    const auto start = std::chrono::steady_clock::now();
    for (int64_t done = 0; done < count; done += chunk)
      result.attention_bytes += step(done, std::min(chunk, count - done)).attention_bytes;
    result.seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    progress(r + 1, options.repetitions);
  }
  return result;
}

}  // namespace

double BenchModelResult::tokens_per_second() const {
  std::vector<double> sorted = seconds;
  std::nth_element(sorted.begin(), sorted.begin() + static_cast<int64_t>(sorted.size() / 2), sorted.end());
  return static_cast<double>(tokens) / sorted[sorted.size() / 2];
}

BenchModelResult bench_decode(const Context& context, const Model& model, const Method& method, int64_t depth,
                              int64_t count, const BenchModelOptions& options, const BenchProgress& progress) {
  return measure(context, model, method, depth, count, 1, options, progress);
}

BenchModelResult bench_prefill(const Context& context, const Model& model, const Method& method, int64_t depth,
                               int64_t count, const BenchModelOptions& options, const BenchProgress& progress) {
  return measure(context, model, method, depth, count, options.chunk, options, progress);
}

}  // namespace lowkey
