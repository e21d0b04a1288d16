// exact_topk: ranks by the keys themselves. Every key is read, so it saves no more than half of the bytes: the quality
// that other rankings are measured against. `heads=query` chooses for each query head apart, as the Loki paper does.
#pragma once

#include <memory>

#include "attention/selective.h"

namespace lowkey {

struct AttentionSpec;

class ExactTopk final : public Selective {
 public:
  explicit ExactTopk(const SelectiveOptions& options) : Selective(options) {}
  static std::unique_ptr<Method> make(const AttentionSpec&);

 protected:
  void score(const LayerStep&, std::span<const KvPages> rows, View q, View keys, View scores) const override;
  int64_t score_bytes(const LayerStep&, int64_t length) const noexcept override;
};

}  // namespace lowkey
