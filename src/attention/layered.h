// auto: a method of its own for each layer, as `lowkey tune` chose them and the calibration keeps them. Layers differ:
// one spreads its attention over everything, another needs a few tokens.
#pragma once

#include <memory>
#include <vector>

#include "attention/method.h"

namespace lowkey {

struct AttentionSpec;
struct MethodInputs;

class Layered final : public Method {
 public:
  // layers: [L], of layer 0 first; layers may share one. Throws kInvalidArgument for one that evicts: rows of a
  // sequence are the same in all layers.
  explicit Layered(std::vector<std::shared_ptr<const Method>> layers);
  // "auto": the profile of the calibration. Throws kInvalidArgument when it has none.
  static std::unique_ptr<Method> make(const AttentionSpec&, const MethodInputs&);

  std::vector<int64_t> planes(const AttentionShape&, DType kv_type, int page_tokens) const override;
  bool replays() const noexcept override;
  void to_cache_space(const LayerStep& step, View q) const override { of(step).to_cache_space(step, q); }
  void move_row(const LayerStep& step, const KvPages& kv, int head, int64_t from, int64_t to) const override {
    of(step).move_row(step, kv, head, from, to);
  }
  void project(const LayerStep& step, View x, const Qkv& qkv) const override { of(step).project(step, x, qkv); }
  void append(const LayerStep& step, const Qkv& qkv) const override { of(step).append(step, qkv); }
  Selection select(const LayerStep& step, View q) const override { return of(step).select(step, q); }
  void attend(const LayerStep& step, View q, const Selection& selection, View out) const override {
    of(step).attend(step, q, selection, out);
  }

 private:
  const Method& of(const LayerStep& step) const { return *layers_[static_cast<size_t>(step.layer)]; }

  std::vector<std::shared_ptr<const Method>> layers_;  // [L]
};

}  // namespace lowkey
