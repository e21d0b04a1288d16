// atp:form=factor: exact attention over tokens, with K and V of the old ones made from a factor of the layer's inputs:
//   x_t ~ z_t B,   k_t = RoPE(z_t (B Wk^T), t),   v_t = z_t (B Wv^T)
// z_t [R] is all that is kept of a token, for the keys and values of all heads: R numbers in place of 2 KH D.
//
// Inputs are factorised by what they do, not by their own size: y_t = G [k_t | v_t], the keys before RoPE and the
// values, [N = 2 KH D], is the input in another metric (atp_metric.h), and x_t is not needed to know it. So B is found
// as the principal directions of y, about the mean of the first of them, and what is rebuilt is k and v themselves.
//
// The directions follow the text. The first fit is the SVD of all tokens before the window. A later chunk is projected
// onto them; when that loses clearly more of it than has been lost of the text so far, they are fitted anew to
// [s B; chunk], s being their lengths, and the z of older tokens are turned.
//
// Rows of the cache: the first tokens, z of old tokens packed into as few rows as their numbers fill (atp_packed.h),
// the exact tokens. K and V are made again from z at every step, a layer at a time. Planes: directions; the state.
#pragma once

#include "attention/atp.h"
#include "attention/atp_packed.h"

namespace lowkey {

class AtpFactor final : public Atp {
 public:
  AtpFactor(const AtpOptions&, const AttentionShape&, bool weighted);

  static constexpr int kPlanes = 3;
  std::vector<int64_t> planes(const AttentionShape&, DType kv_type, int page_tokens) const override;
  int64_t replayable(int64_t tokens) const noexcept override { return std::min(tokens, longest_exact()); }
  // A row of the cache stands for so many tokens at most.
  int64_t tokens_per_row() const noexcept { return (2 * numbers_ + format().bytes() - 1) / format().bytes(); }

 protected:
  int64_t rows(int64_t length, int64_t end) const noexcept override { return length - removed(end); }
  void shorten(const LayerStep&, const Shorten&) const override;
  void read(const LayerStep&, const Piece&) const override;

 private:
  struct State;
  struct Layer;
  PackedFormat format() const noexcept { return {stride_, options().bits}; }
  int64_t packed(int64_t end) const noexcept;  // rows of the cache for z of the tokens before `end`
  int64_t removed(int64_t end) const noexcept { return end == 0 ? 0 : end - options().sink - packed(end); }
  int64_t page_rows(int page_tokens, int64_t all) const noexcept;
  Layer layer(const LayerStep&, const KvPages&) const;
  void gather(const Layer&, int64_t row, int64_t position, View y) const;
  void begin(const Layer&, View y) const;
  bool project_onto(const Layer&, View y, int64_t first) const;
  void fit(const Layer&, View y, int64_t first) const;
  void turn_old(const Layer&, int64_t count, View turn) const;
  void read_all(const Layer&, const Piece&) const;
  void rebuild(const Layer&, int head, const KvPages&, int64_t old) const;
  void read_lists(const Layer&, const Piece&) const;
  void fetch(const Layer&, const Piece&, int head, const TokenList&, const KvPages& to) const;
  void make(const Layer&, int head, View z, std::span<const int32_t> positions, View k, View v) const;
  void expand(const Layer&, View z, int64_t begin, View out) const;

  int64_t numbers_;  // N
  int64_t dim_;      // D
  int64_t stride_;   // numbers that are set aside for a z
  bool weighted_;
};

}  // namespace lowkey
