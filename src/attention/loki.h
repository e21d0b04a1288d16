// loki: an index of a few bytes a key ranks all tokens, exact attention reads the best (Loki, arXiv 2406.02542, with
// its low-dimensional keys in a plane of their own, a few bits for each of all principal coordinates instead of many
// for the first of them, one selection for a KV head's whole group, and the first and last tokens always read).
#pragma once

#include <memory>
#include <vector>

#include "attention/layer_index.h"
#include "attention/selective.h"

namespace lowkey {

struct AttentionSpec;
struct MethodInputs;

class Loki final : public Selective {
 public:
  Loki(const SelectiveOptions&, const MethodInputs&, const IndexSpec&);
  // "loki", and "loki:form=paper" (loki_paper.h). Throws kInvalidArgument.
  static std::unique_ptr<Method> make(const AttentionSpec&, const MethodInputs&);

  std::vector<int64_t> planes(const AttentionShape&, DType kv_type, int page_tokens) const override;
  void append(const LayerStep&, const Qkv&) const override;
  // Codes of the step's keys alone, [T, KH, D].
  void append_codes(const LayerStep&, View k) const;
  void move_row(const LayerStep&, const KvPages&, int head, int64_t from, int64_t to) const override;

 protected:
  void score(const LayerStep&, std::span<const KvPages> rows, View q, View keys, View scores) const override;
  int64_t score_bytes(const LayerStep&, int64_t length) const noexcept override;

 private:
  int nibbles_;
  std::vector<LayerIndex> layers_;
};

}  // namespace lowkey
