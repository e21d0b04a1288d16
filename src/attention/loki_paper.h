// loki:form=paper: Loki as its authors have it (arXiv 2406.02542, Alg. 1). Keys lie in the cache rotated by the
// principal directions of the model's keys; the first d coordinates of each rank it, for each query head apart; the top
// k are read exactly. No sinks, no recent tokens, no index beside the cache.
#pragma once

#include <memory>
#include <vector>

#include "attention/selective.h"

namespace lowkey {

struct AttentionSpec;
struct MethodInputs;

class LokiPaper final : public Selective {
 public:
  // rotations: [L, KH, D, D]; dims: [L], d of each layer.
  LokiPaper(const SelectiveOptions&, const AttentionShape&, std::vector<float> rotations, std::vector<int> dims);
  static std::unique_ptr<Method> make(const AttentionSpec&, const MethodInputs&);

  void append(const LayerStep&, const Qkv&) const override;
  void to_cache_space(const LayerStep&, View q) const override;
  void attend(const LayerStep&, View q, const Selection&, View out) const override;

 protected:
  void score(const LayerStep&, std::span<const KvPages> rows, View q, View keys, View scores) const override;
  int64_t score_bytes(const LayerStep&, int64_t length) const noexcept override;

 private:
  View rotation(int layer) const noexcept;

  AttentionShape shape_;
  std::vector<float> rotations_;
  std::vector<int> dims_;
};

}  // namespace lowkey
