// atp:form=softmax: the paper's form. With the SVD of the old tokens' inputs, X = U X', attention goes to R principal
// keys in place of n keys:   K' = U^T K,   V' = U^T V,   softmax(q K'^T) V'.
//
// That is no approximation of attention to the n tokens, at whatever R: a model has to be adapted to it. Two things
// that the paper's formulas leave open are fixed here. The sign of a direction (u or -u, of no account in X = U X', but
// a different softmax): the sum of u is >= 0. The scale, sqrt(n) times that of tokens: K' and V' are divided by it, so
// a principal key looks like a key, and counts as one token in the softmax that it shares with the exact ones.
//
// K is projected as it lies in the cache, after RoPE. Chunks come in by the SVD of [X'; chunk], with U, K' and V' made
// from those before: nothing of the tokens is kept, their rows of the cache are given back. Rows: the first tokens, R
// principal keys, the exact tokens. Plane: inputs, X' for principal keys, and the sum of u.
//
// In encoders, where no token needs to be exact, the linear layers run on the factor (AtpOptions::linear): the factor
// comes first, K' and V' are X' Wk^T and X' Wv^T, and no K or V of a token is ever made.
#pragma once

#include "attention/atp.h"

namespace lowkey {

class AtpSoftmax final : public Atp {
 public:
  // The rank is an amount. Throws kInvalidArgument when it may be more than `chunk`.
  explicit AtpSoftmax(const AtpOptions&);

  void project(const LayerStep&, View x, const Qkv&) const override;
  void append(const LayerStep&, const Qkv&) const override;

 protected:
  int64_t input_floats(int64_t width) const noexcept override { return width + 1; }
  int64_t rows(int64_t length, int64_t end) const noexcept override { return length - removed(end); }
  void shorten(const LayerStep&, const Shorten&) const override;

 private:
  // Rows that are gone when the tokens before `end` are in short form.
  int64_t removed(int64_t end) const noexcept {
    return end == 0 ? 0 : end - options().sink - rank(end - options().sink);
  }
  bool on_factor(const LayerStep&) const noexcept;
  void project_text(const LayerStep&, const KvPages&, View x, View q) const;
  void project_keys(const LayerStep&, const KvPages&, View across) const;
};

}  // namespace lowkey
