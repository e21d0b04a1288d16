// One layer and one sequence, for a method to work on without a model. For tests only.
#pragma once

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "attention/spec.h"
#include "kv/cache.h"

namespace lowkey {

// What a model would have made of T tokens.
struct LayerInputs {
  std::vector<float> q;  // [T, H, D]
  std::vector<float> k;  // [T, KH, D]
  std::vector<float> v;  // [T, KH, D]
};

class LayerHarness {
 public:
  // One thread unless asked: so small a step is mostly waiting for the others.
  LayerHarness(const std::string& spec, const AttentionShape& shape, DType kv_type,
               std::shared_ptr<const Calibration> calibration = nullptr, int threads = 1)
      : shape_(shape),
        context_(threads),
        method_(make_method(parse_attention_spec(spec), {.shape = shape, .calibration = std::move(calibration)})),
        cache_({.layers = 1,
                .kv_heads = shape.kv_heads,
                .head_dim = shape.head_dim,
                .dtype = kv_type,
                .page_tokens = 64,
                .max_tokens = 1024,
                .plane_bytes = method_->planes(shape, kv_type, 64)}),
        id_(cache_.open()) {}

  const Method& method() const { return *method_; }
  KvPages pages() const { return cache_.pages(id_, 0); }
  int64_t position() const { return cache_.position(id_); }  // of the next token

  // Appends the tokens, gives what they attend to, [T, H, D], and drops the rows that the method has given up.
  std::vector<float> step(LayerInputs x) {
    const auto count = static_cast<int32_t>(x.q.size()) / (shape_.heads * shape_.head_dim);
    std::vector<float> out(x.q.size());
    if (!cache_.grow(id_, count)) throw std::length_error("the cache of the test is full");
    with_step(count, [&](const LayerStep& step) {
      const View q = f32_view(x.q.data(), {count, shape_.heads, shape_.head_dim});
      method_->append(step, {.q = q,
                             .k = f32_view(x.k.data(), {count, shape_.kv_heads, shape_.head_dim}),
                             .v = f32_view(x.v.data(), {count, shape_.kv_heads, shape_.head_dim})});
      method_->attend(step, q, method_->select(step, q), f32_view(out.data(), {count, shape_.heads, shape_.head_dim}));
    });
    cache_.evict(id_, method_->kept({.length = cache_.length(id_), .seen = cache_.position(id_), .count = count}));
    return out;
  }
  // Appends one token; what it reads, and the part of attention that the ranking thinks is in it.
  struct Choice {
    std::vector<std::vector<int32_t>> ids;  // of each list; empty: everything
    std::vector<float> mass;
  };
  Choice choose(LayerInputs x) {
    Choice choice;
    if (!cache_.grow(id_, 1)) throw std::length_error("the cache of the test is full");
    with_step(1, [&](LayerStep step) {
      step.estimates = true;
      const View q = f32_view(x.q.data(), {1, shape_.heads, shape_.head_dim});
      method_->append(step, {.q = q,
                             .k = f32_view(x.k.data(), {1, shape_.kv_heads, shape_.head_dim}),
                             .v = f32_view(x.v.data(), {1, shape_.kv_heads, shape_.head_dim})});
      const Selection selection = method_->select(step, q);
      for (const TokenList& list : selection.tokens)
        choice.ids.emplace_back(list.ids, list.ids + (list.ids != nullptr ? list.count : 0));
      if (selection.mass) choice.mass.assign(selection.mass.f32(), selection.mass.f32() + selection.mass.elements());
    });
    return choice;
  }
  // Moves rows (from, to) in every head, then keeps the first `keep`.
  void evict(const std::vector<std::pair<int64_t, int64_t>>& moves, int64_t keep) {
    with_step(0, [&](const LayerStep& step) {
      for (int head = 0; head < shape_.kv_heads; ++head)
        for (const auto& [from, to] : moves) method_->move_row(step, step.kv[0], head, from, to);
    });
    cache_.evict(id_, keep);
  }
  void truncate(int64_t length) { cache_.truncate(id_, length); }

 private:
  // The last `count` rows of the cache are the step's tokens.
  template <typename Act>
  void with_step(int32_t count, const Act& act) {
    const KvPages kv = pages();
    std::vector<int32_t> positions;
    for (int32_t i = 0; i < count; ++i) positions.push_back(static_cast<int32_t>(position()) - count + i);
    Scratch::Frame frame(context_.scratch);
    const Projections none;
    act(LayerStep{.context = context_,
                  .frame = frame,
                  .shape = shape_,
                  .layer = 0,
                  .projections = none,
                  .kv = {&kv, 1},
                  .counts = {&count, 1},
                  .positions = positions,
                  .inverse_frequency = {},
                  .rope_layout = RopeLayout::kHalf,
                  .window = shape_.window});
  }

  AttentionShape shape_;
  Context context_;
  std::unique_ptr<Method> method_;
  KvCache cache_;
  KvCache::SequenceId id_;
};

}  // namespace lowkey
