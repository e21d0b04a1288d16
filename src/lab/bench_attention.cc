#include "lab/bench_attention.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <random>

#include "base/error.h"
#include "kv/cache.h"
#include "lab/dram_probe.h"
#include "lab/statistics.h"
#include "ops/attention_decode.h"
#include "ops/attention_prefill.h"
#include "ops/kv_append.h"

namespace lowkey {

void check_bench_attention(const BenchAttentionOptions& o) {
  LK_REQUIRE(o.heads >= 1 && o.kv_heads >= 1 && o.heads % o.kv_heads == 0, kInvalidArgument,
             "[bench attention] heads={} kv_heads={}, must be a multiple", o.heads, o.kv_heads);
  LK_REQUIRE(o.head_dim >= 8 && o.head_dim % 8 == 0, kInvalidArgument,
             "[bench attention] head_dim={}, must be a positive multiple of 8", o.head_dim);
  LK_REQUIRE(o.repetitions >= 1, kInvalidArgument, "[bench attention] repetitions={}, must be >= 1", o.repetitions);
  LK_REQUIRE(o.prompt_chunk >= 1, kInvalidArgument, "[bench attention] chunk={}, must be >= 1", o.prompt_chunk);
  for (int64_t context : o.contexts)
    LK_REQUIRE(context >= 1, kInvalidArgument, "[bench attention] context={}, must be >= 1", context);
}

namespace {

constexpr int64_t kWorkingSet = int64_t{512} << 20;  // bytes of cache gone through in turn
constexpr int64_t kFillTokens = 1024;

std::vector<float> random_normal(int64_t n) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<size_t>(n));
  for (float& value : x) value = normal(random);
  return x;
}

// A sequence of `context` random tokens in `layers` layers.
class FilledCache {
 public:
  FilledCache(const Context& context, const BenchAttentionOptions& o, int64_t length, int layers)
      : cache_({.layers = layers,
                .kv_heads = o.kv_heads,
                .head_dim = o.head_dim,
                .dtype = o.kv_type,
                .page_tokens = o.page_tokens,
                .max_tokens = length}),
        sequence_(cache_.open()) {
    std::vector<float> x = random_normal(2 * kFillTokens * o.kv_heads * o.head_dim);
    for (int64_t at = 0; at < length; at += kFillTokens) {
      const int64_t count = std::min(kFillTokens, length - at);
      cache_.grow(sequence_, count);
      const View k{x.data(), DType::kF32, {count, o.kv_heads, o.head_dim}};
      const View v{x.data() + x.size() / 2, DType::kF32, {count, o.kv_heads, o.head_dim}};
      for (int layer = 0; layer < layers; ++layer) kv_append(context, {.k = k, .v = v, .kv = pages(layer)});
    }
  }
  KvPages pages(int layer) const { return cache_.pages(sequence_, layer); }

 private:
  KvCache cache_;
  KvCache::SequenceId sequence_;
};

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Times `work`, which goes `layers` times through one layer, in turn with the probe; the first round only warms up.
void time_in_turn(DramProbe& probe, int repetitions, int layers, const std::function<void()>& work,
                  BenchAttentionResult& result) {
  std::vector<double> seconds, rates;
  for (int i = 0; i <= repetitions; ++i) {
    const double rate = probe.read(), time = seconds_of(work) / layers;
    if (i > 0) seconds.push_back(time), rates.push_back(rate);
  }
  const Spread times = spread(seconds);
  result.seconds = times.median, result.fastest = times.least, result.slowest = times.most;
  result.probe_bytes_per_second = spread(rates).median;
}

BenchAttentionResult time_decode(const Context& context, const BenchAttentionOptions& o, DramProbe& probe, int64_t s) {
  BenchAttentionResult result;
  result.context = s;
  result.bytes = s * o.kv_heads * kv_row_bytes(o.kv_type, o.head_dim);
  result.flops = 4. * static_cast<double>(s) * o.heads * o.head_dim;
  const int layers = static_cast<int>(std::max<int64_t>(1, kWorkingSet / result.bytes));
  const FilledCache cache(context, o, s, layers);
  std::vector<float> q = random_normal(int64_t{o.heads} * o.head_dim), out(q.size());
  const auto view = [&](std::vector<float>& x) { return View{x.data(), DType::kF32, {1, o.heads, o.head_dim}}; };
  const float scale = 1.f / std::sqrt(static_cast<float>(o.head_dim));
  const auto step = [&] {
    for (int layer = 0; layer < layers; ++layer) {
      const KvPages kv = cache.pages(layer);
      attention_decode(context, {.q = view(q), .kv = {&kv, 1}, .tokens = {}, .scale = scale, .out = view(out)});
    }
  };
  time_in_turn(probe, o.repetitions, layers, step, result);
  return result;
}

BenchAttentionResult time_prefill(const Context& context, const BenchAttentionOptions& o, DramProbe& probe, int64_t s) {
  const int64_t tokens = std::min(o.prompt_chunk, s);
  BenchAttentionResult result;
  result.context = s;
  result.bytes = s * o.kv_heads * kv_row_bytes(o.kv_type, o.head_dim);
  const double pairs = static_cast<double>(tokens) * (static_cast<double>(s) - (static_cast<double>(tokens) - 1) / 2);
  result.flops = 4. * pairs * o.heads * o.head_dim;
  const FilledCache cache(context, o, s, 1);
  std::vector<float> q = random_normal(tokens * o.heads * o.head_dim), out(q.size());
  const auto view = [&](std::vector<float>& x) { return View{x.data(), DType::kF32, {tokens, o.heads, o.head_dim}}; };
  const float scale = 1.f / std::sqrt(static_cast<float>(o.head_dim));
  const auto step = [&] {
    attention_prefill(context, {.q = view(q), .kv = cache.pages(0), .scale = scale, .out = view(out)});
  };
  time_in_turn(probe, o.repetitions, 1, step, result);
  return result;
}

}  // namespace

std::vector<BenchAttentionResult> bench_attention_decode(const Context& context, const BenchAttentionOptions& o) {
  check_bench_attention(o);
  DramProbe probe(context);
  std::vector<BenchAttentionResult> results;
  for (int64_t s : o.contexts) results.push_back(time_decode(context, o, probe, s));
  return results;
}

std::vector<BenchAttentionResult> bench_attention_prefill(const Context& context, const BenchAttentionOptions& o) {
  check_bench_attention(o);
  DramProbe probe(context);
  std::vector<BenchAttentionResult> results;
  for (int64_t s : o.contexts) results.push_back(time_prefill(context, o, probe, s));
  return results;
}

}  // namespace lowkey
