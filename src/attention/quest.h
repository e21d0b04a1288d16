// quest: ranks blocks of tokens by the bounds of their keys and reads the best blocks whole (Quest, arXiv 2406.10774).
// `page` tokens are a block; the index takes 2 D numbers for each. A block of one token ranks as topk does. The paper
// reads its first two layers whole (dense_layers=2) and neither sink nor recent tokens besides.
#pragma once

#include <memory>

#include "attention/selective.h"
#include "ops/key_bounds.h"

namespace lowkey {

struct AttentionSpec;

class Quest final : public Selective {
 public:
  Quest(const SelectiveOptions& options, int block_tokens) : Selective(options), bounds_{0, block_tokens} {}
  static std::unique_ptr<Method> make(const AttentionSpec&);

  std::vector<int64_t> planes(const AttentionShape&, DType kv_type, int page_tokens) const override;
  void append(const LayerStep&, const Qkv&) const override;

 protected:
  int unit() const noexcept override { return bounds_.block_tokens; }
  void score(const LayerStep&, std::span<const KvPages> rows, View q, View keys, View scores) const override;
  int64_t score_bytes(const LayerStep&, int64_t length) const noexcept override;

 private:
  KeyBounds bounds_;
};

}  // namespace lowkey
