// atp:form=linear: the first-order form, which the authors' talk writes as  exp(q K^T) V ~ (1 U + q K'^T) V'  without
// its denominator. It is linear attention: the rank-R factors may be multiplied out, and U is not needed. Taken about
// the mean of keys, which no softmax notices, the denominator of n tokens is exactly n e^(q . mean k), and they give
//   mean v + q Cov(K, V),
// exact if keys and values were Gaussian together. In the softmax that they share with the exact tokens they have that
// denominator as their weight (to first order: the keys' spread would add to it).
//
// What is kept of the old tokens is mean k, mean v [D] and Cov(K, V) [D, D] of a KV head, whatever their number; their
// rows of the cache are given back. Keys are as they lie in the cache, after RoPE. Needs adapted weights, or short
// texts.
#pragma once

#include "attention/atp.h"

namespace lowkey {

class AtpLinear final : public Atp {
 public:
  using Atp::Atp;

  std::vector<int64_t> planes(const AttentionShape&, DType kv_type, int page_tokens) const override;

 protected:
  int64_t rows(int64_t length, int64_t end) const noexcept override { return length - removed(end); }
  void shorten(const LayerStep&, const Shorten&) const override;
  void read(const LayerStep&, const Piece&) const override;

 private:
  int64_t removed(int64_t end) const noexcept { return end == 0 ? 0 : end - options().sink; }
};

}  // namespace lowkey
