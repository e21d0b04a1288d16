// h2o:form=paper: eviction as Loki's authors evaluate H2O: a mask, row by row of a text, over a cache from which
// nothing goes. For each query head: row t < hb attends to all; a later one to itself, to the hb - 1 tokens with the
// largest sums of attention so far, and to the last rb; a token that is not among them loses its sum. The sums are of
// the full softmax. hb and rb are `heavy` and `recent`, best given as counts: the paper takes them of the whole text's
// length.
#pragma once

#include "attention/method.h"
#include "attention/settings.h"

namespace lowkey {

class H2oPaper final : public Method {
 public:
  H2oPaper(Amount heavy, Amount recent) : heavy_(heavy), recent_(recent) {}

  std::vector<int64_t> planes(const AttentionShape&, DType kv_type, int page_tokens) const override;
  bool replays() const noexcept override { return false; }
  void append(const LayerStep&, const Qkv&) const override;
  Selection select(const LayerStep&, View q) const override;

 private:
  Amount heavy_, recent_;
};

}  // namespace lowkey
