// atp:form=centroids: old tokens in clusters, k-means of the keys of each chunk and KV head. Ours; it needs no
// training.
//
// A cluster of n tokens with mean key and value k, v and, where r leaves room for it, its largest direction: the
// principal axis of its keys, kappa, its length the spread of the keys along it, and nu, how values go with that.
// In the softmax over tokens and clusters it has
//   the logarithm of its weight   log n + q . k + log cosh(q . kappa)
//   the value                     v + tanh(q . kappa) nu
// which is two equal halves at k +- kappa: exact for one token or two, and bounded, as the Gaussian form
// (q . kappa)^2 / 2 is not.
//
// Keys are as they lie in the cache, after RoPE, and clusters are never touched again. Rows of the cache: the first
// tokens; for each chunk its clusters, [k | v] and [kappa | nu]; the exact tokens. Plane: log2 n of each row.
#pragma once

#include "attention/atp.h"

namespace lowkey {

class AtpCentroids final : public Atp {
 public:
  // directions: whether clusters have one. Throws kInvalidArgument when the rank is no amount.
  AtpCentroids(const AtpOptions&, bool directions);

  std::vector<int64_t> planes(const AttentionShape&, DType kv_type, int page_tokens) const override;

 protected:
  int64_t rows(int64_t length, int64_t end) const noexcept override;
  void shorten(const LayerStep&, const Shorten&) const override;
  void read(const LayerStep&, const Piece&) const override;

 private:
  int64_t clusters(int64_t tokens) const noexcept;  // of a chunk
  int64_t short_rows(int64_t end) const noexcept;
  void cluster(const LayerStep&, const KvPages&, int head, int64_t from, int64_t count, int64_t to) const;
  void read_head(const LayerStep&, const Piece&, int head, std::span<const KvPages> rows, View scores) const;

  int rows_each_;  // of a cluster: 1 or 2
};

}  // namespace lowkey
