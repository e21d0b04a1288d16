// h2o: a cache of limited size (H2O, arXiv 2306.14048). Every token's share of all attention so far is added up; when
// the cache is over its budget, the tokens with the smallest sums are evicted for good, the most recent ones apart.
// What remains is read whole, or by another method: "loki:k=1/16+h2o:heavy=1/4,recent=1/4".
//
// Rows of evicted tokens are filled with later ones, so the order of rows is not that of tokens. Attention does not
// ask. To an inner method, `sink` and `recent` are the first and last rows: the last 64 (or h2o's `recent`, if that is
// less) stay in the order of the text, the first are its first tokens as long as these are not evicted.
#pragma once

#include <memory>

#include "attention/method.h"
#include "attention/settings.h"

namespace lowkey {

struct AttentionSpec;

struct H2oOptions {
  Amount heavy = part(0.125), recent = part(0.125);  // of all tokens seen
  bool whole_prompt = true;                          // evict when a prompt has been read, not chunk by chunk
};

class H2o final : public Method {
 public:
  // inner: reads what is kept, one list for a KV head; its move_row() takes its side data along.
  H2o(const H2oOptions& options, std::unique_ptr<Method> inner) : options_(options), inner_(std::move(inner)) {}
  // inner: null for reading everything that is kept. "form=paper": h2o_paper.h. Throws kInvalidArgument.
  static std::unique_ptr<Method> make(const AttentionSpec&, std::unique_ptr<Method> inner);

  std::vector<int64_t> planes(const AttentionShape&, DType kv_type, int page_tokens) const override;
  int64_t kept(const StepEnd&) const noexcept override;
  bool replays() const noexcept override { return false; }
  void append(const LayerStep&, const Qkv&) const override;
  Selection select(const LayerStep&, View q) const override;
  void attend(const LayerStep&, View q, const Selection&, View out) const override;
  void move_row(const LayerStep&, const KvPages&, int head, int64_t from, int64_t to) const override;

 private:
  int plane(const LayerStep&) const;
  void remember(const LayerStep&, View q, const Selection&) const;
  void evict(const LayerStep&, const KvPages&, const StepEnd&) const;
  // What is left of one head's rows.
  struct Gaps {
    const KvPages& kv;
    int head;
    const bool* evicted;  // [length]; of the last `ordered` rows, none is
    int64_t keep, ordered;
  };
  void close_gaps(const LayerStep&, const Gaps&) const;

  H2oOptions options_;
  std::unique_ptr<Method> inner_;
};

}  // namespace lowkey
