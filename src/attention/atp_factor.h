// atp:form=factor: exact attention over tokens, with K and V of the old ones made from a factor of the layer's inputs:
//   x_t ~ z_t B,   k_t = RoPE(z_t (B Wk^T), t),   v_t = z_t (B Wv^T)
// z_t [R] is all there is to know of a token, for the keys and values of all heads; B [R, C] is the sequence's own. It
// needs no training: with R = C, or as many directions as the inputs have, nothing changes but rounding.
//
// B follows the text. The first fit is the SVD of all tokens before the window. A later chunk is projected onto B; when
// that loses clearly more of it than B has lost of the text so far, B is fitted anew to [s B; chunk], s being the
// lengths of its directions, and the z of older tokens are turned into the new B.
//
// The cache still holds rows of K and V, made from z: this form shows what the factor does to the answer, and saves no
// memory yet. Planes: inputs, whose rows become z; directions with their lengths.
#pragma once

#include "attention/atp.h"

namespace lowkey {

class AtpFactor final : public Atp {
 public:
  using Atp::Atp;

  std::vector<int64_t> planes(const AttentionShape&, DType kv_type, int page_tokens) const override;

 protected:
  void resume(const LayerStep&, const KvPages&, int64_t before) const override;
  void shorten(const LayerStep&, const Shorten&) const override;

 private:
  struct State;
  struct Layer;
  bool project_onto(const Layer&, View x) const;
  void fit(const Layer&, View x) const;
  void rebuild(const Layer&, int64_t begin, int64_t end) const;
};

}  // namespace lowkey
