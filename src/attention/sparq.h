// sparq: ranks by the few coordinates of each key where the query is largest, and lets the mean of all values stand for
// the tokens that are not read (SparQ, arXiv 2312.04985). For a query head h
//   out_h = alpha_h attention(tokens read) + (1 - alpha_h) mean(V of all tokens),
// alpha_h being the share of its softmax over the approximate scores that the tokens read hold. Rows that are read
// whole are exact. The cache keeps keys a second time, coordinate by coordinate, and running sums of values by page.
#pragma once

#include <memory>

#include "attention/selective.h"

namespace lowkey {

struct AttentionSpec;
struct MethodInputs;

struct SparqOptions {
  int columns = 32;     // R: coordinates read of each key
  bool raw_sum = true;  // rank by the sum of the group's scores, as the authors' code; else by the largest probability
  bool mean = true;     // the mean value stands for what is not read
};

class Sparq final : public Selective {
 public:
  Sparq(const SelectiveOptions& budget, const SparqOptions& options) : Selective(budget), options_(options) {}
  static std::unique_ptr<Method> make(const AttentionSpec&, const MethodInputs&);

  std::vector<int64_t> planes(const AttentionShape&, DType kv_type, int page_tokens) const override;
  void append(const LayerStep&, const Qkv&) const override;
  void move_row(const LayerStep&, const KvPages&, int head, int64_t from, int64_t to) const override;
  void attend(const LayerStep&, View q, const Selection&, View out) const override;

 protected:
  void score(const LayerStep&, std::span<const KvPages> rows, View q, View keys, View scores) const override;
  // The alpha of each query head.
  bool notes() const noexcept override { return options_.mean; }
  void note(const LayerStep&, std::span<const KvPages> rows, View scores, std::span<const TokenList> lists,
            View notes) const override;
  int64_t score_bytes(const LayerStep&, int64_t length) const noexcept override;

 private:
  SparqOptions options_;
};

}  // namespace lowkey
