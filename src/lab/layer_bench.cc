#include "lab/layer_bench.h"

#include <algorithm>
#include <chrono>
#include <random>

#include "base/error.h"
#include "lab/append_tokens.h"

namespace lowkey {
namespace {

constexpr int64_t kFillTokens = 1024;
constexpr int32_t kOne = 1;

using Clock = std::chrono::steady_clock;
double seconds(Clock::duration d) { return std::chrono::duration<double>(d).count(); }

std::vector<float> noise(int64_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<size_t>(n));
  for (float& value : x) value = normal(random);
  return x;
}

}  // namespace

LayerBench::LayerBench(const Context& context, const Method& method, const AttentionShape& shape, KvShape kv,
                       int64_t length)
    : context_(context),
      method_(method),
      shape_(shape),
      cache_((kv.plane_bytes = method.planes(shape, kv.dtype, kv.page_tokens), kv)),
      sequence_(cache_.open()),
      q_(noise(int64_t{shape.heads} * shape.head_dim, 7)),
      out_(q_.size()) {
  LK_REQUIRE(!method.evicts(), kInvalidArgument,
             "[layer bench] a method that evicts has no step to repeat: see bench decode");
  const std::vector<float> x = noise(2 * kFillTokens * shape.kv_heads * shape.head_dim, 1);
  for (int64_t at = 0; at < length; at += kFillTokens) {
    const int64_t count = std::min(kFillTokens, length - at);
    LK_REQUIRE(cache_.grow(sequence_, count), kInternal, "[layer bench] no room for {} tokens", count);
    for (int layer = 0; layer < cache_.shape().layers; ++layer) append(x, layer, count);
  }
}

LayerTimes LayerBench::decode(int64_t length) {
  const int layers = cache_.shape().layers;
  LayerTimes times;
  const Clock::time_point start = Clock::now();
  for (int layer = 0; layer < layers; ++layer) {
    Scratch::Frame frame(context_.scratch);
    KvPages kv = cache_.pages(sequence_, layer);
    kv.length = length;
    const auto position = static_cast<int32_t>(length - 1);
    const LayerStep step{.context = context_,
                         .frame = frame,
                         .shape = shape_,
                         .layer = 0,
                         .projections = none_,
                         .kv = {&kv, 1},
                         .counts = {&kOne, 1},
                         .positions = {&position, 1},
                         .inverse_frequency = {},
                         .rope_layout = {}};
    const View q = f32_view(q_.data(), {1, shape_.heads, shape_.head_dim});
    const View out = f32_view(out_.data(), {1, shape_.heads, shape_.head_dim});
    const Selection selection = method_.select(step, q);
    const Clock::time_point selected = Clock::now();
    method_.attend(step, q, selection, out);
    times.attend += seconds(Clock::now() - selected) / layers;
    times.score += selection.score_seconds / layers, times.select += selection.select_seconds / layers;
    times.score_bytes = selection.index_bytes;
    times.attend_bytes = selection.bytes_read(step) - selection.index_bytes;
  }
  times.total = seconds(Clock::now() - start) / layers;
  return times;
}

double LayerBench::append_seconds() {
  const std::vector<float> x = noise(2 * int64_t{shape_.kv_heads} * shape_.head_dim, 3);
  const int layers = cache_.shape().layers;
  const Clock::time_point start = Clock::now();
  for (int layer = 0; layer < layers; ++layer) append(x, layer, 1);
  return seconds(Clock::now() - start) / layers;
}

int64_t LayerBench::bytes_per_token() const noexcept {
  return (cache_.bytes_per_token() + cache_.plane_bytes_per_token()) / cache_.shape().layers;
}

// x: the keys of at least `count` tokens, then as many values.
void LayerBench::append(const std::vector<float>& x, int layer, int64_t count) {
  auto* data = const_cast<float*>(x.data());
  append_tokens(context_, method_,
                {.shape = shape_,
                 .kv = cache_.pages(sequence_, layer),
                 .layer = 0,
                 .k = f32_view(data, {count, shape_.kv_heads, shape_.head_dim}),
                 .v = f32_view(data + x.size() / 2, {count, shape_.kv_heads, shape_.head_dim})});
}

}  // namespace lowkey
