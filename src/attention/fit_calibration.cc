#include "attention/fit_calibration.h"

#include <algorithm>
#include <cmath>
#include <exception>
#include <mutex>

#include "attention/content_covariance.h"
#include "attention/fit_codebooks.h"
#include "linalg/basis.h"

namespace lowkey {
namespace {

// f(i) for i in [0, n) on all threads; the first exception ends the rest and is thrown here.
template <typename F>
void parallel(const Context& context, int64_t n, F&& f) {
  std::exception_ptr failure;
  std::mutex mutex;
  context.threads.dynamic(n, [&](int64_t i, int) {
    try {
      f(i);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
    }
  });
  if (failure) std::rethrow_exception(failure);
}

std::span<const double> head_of(const std::vector<double>& all, size_t head, size_t size) {
  return std::span(all).subspan(head * size, size);
}

template <typename T>
void copy_head(std::span<const double> from, std::vector<T>& to, size_t head) {
  std::transform(from.begin(), from.end(), to.begin() + static_cast<std::ptrdiff_t>(head * from.size()),
                 [](double x) { return static_cast<T>(x); });
}

Basis basis_of(BasisKind kind, const KeyStatistics& s, std::span<const double> post, std::span<const double> pre,
               std::span<const double> query) {
  constexpr double kQueryPower = 0.375;
  switch (kind) {
    case BasisKind::kPost:
      return pca(post);
    case BasisKind::kPre:
      return pca(pre);
    case BasisKind::kBalanced:
      return balanced_basis(post, query);
    case BasisKind::kWeighted:
      return weighted_basis(post, query, kQueryPower);
    case BasisKind::kContent:
      return mixed_basis(post, content_covariance(pre, s.inverse_frequency, s.first, s.end));
  }
  return {};
}

void fit_basis(const KeyStatistics& s, BasisKind kind, size_t head, KeyBasis& out) {
  const size_t dims = static_cast<size_t>(s.head_dim), square = dims * dims;
  const auto post = head_of(s.post_covariance, head, square), query = head_of(s.query_moment, head, square);
  const Basis basis = basis_of(kind, s, post, head_of(s.pre_covariance, head, square), query);
  copy_head<float>(basis.key, out.key, head);
  copy_head<float>(basis.query, out.query, head);
  copy_head<float>(basis.spectrum, out.spectrum, head);
  const auto positive = [](std::vector<double> v) {
    for (double& x : v) x = std::max(x, 0.0);  // rounding of a moment that is 0
    return v;
  };
  copy_head<float>(positive(diagonal_moment(basis.key, post)), out.variance, head);
  copy_head<float>(positive(diagonal_moment(basis.query, query)), out.weight, head);
  std::vector<double> ranked = basis.spectrum;
  for (double& x : ranked)
    if (kind == BasisKind::kBalanced) x *= x;
  for (size_t i = 0; i < kRankShares.size(); ++i)
    out.ranks[head * kRankShares.size() + i] = rank_at(ranked, kRankShares[i]);
}

KeyBasis empty_basis(size_t heads, size_t dims) {
  KeyBasis basis;
  basis.key.resize(heads * dims * dims);
  basis.query.resize(heads * dims * dims);
  for (auto* vector : {&basis.spectrum, &basis.variance, &basis.weight}) vector->resize(heads * dims);
  basis.ranks.resize(heads * kRankShares.size());
  return basis;
}

}  // namespace

Calibration fit_calibration(const Context& context, const KeyStatistics& s, const FitOptions& options,
                            const std::function<void(int64_t, int64_t)>& progress) {
  const size_t heads = static_cast<size_t>(s.layers) * static_cast<size_t>(s.kv_heads);
  const auto dims = static_cast<size_t>(s.head_dim);
  Calibration c;
  c.layers = s.layers, c.kv_heads = s.kv_heads, c.head_dim = s.head_dim, c.tokens = s.tokens;
  c.mean.resize(heads * dims);
  for (size_t head = 0; head < heads; ++head) copy_head<float>(head_of(s.post_mean, head, dims), c.mean, head);
  for (KeyBasis& basis : c.bases) basis = empty_basis(heads, dims);

  constexpr size_t kKinds = kBasisKinds.size();
  std::vector<std::vector<HeadCodebook>> books(heads * kKinds);  // [L, KH, basis][bits]
  const auto jobs = static_cast<int64_t>(static_cast<size_t>(s.kv_heads) * kKinds);
  const auto wanted = [&](BasisKind kind) {
    const auto& kinds = options.codebook_bases;
    return std::find(kinds.begin(), kinds.end(), kind) != kinds.end();
  };
  for (int layer = 0; layer < s.layers; ++layer) {
    parallel(context, jobs, [&](int64_t job) {
      const size_t head = c.head(layer, static_cast<int>(static_cast<size_t>(job) / kKinds));
      const BasisKind kind = kBasisKinds[static_cast<size_t>(job) % kKinds];
      fit_basis(s, kind, head, c.bases[static_cast<size_t>(kind)]);
      if (s.sample_size > 0 && wanted(kind))
        books[head * kKinds + static_cast<size_t>(kind)] = fit_head_codebooks(s, c, kind, head, options);
    });
    if (progress) progress(layer + 1, s.layers);
  }
  for (BasisKind kind : kBasisKinds)
    for (size_t i = 0; i < books[static_cast<size_t>(kind)].size(); ++i) {
      std::vector<const HeadCodebook*> of_heads;
      for (size_t head = 0; head < heads; ++head)
        of_heads.push_back(&books[head * kKinds + static_cast<size_t>(kind)][i]);
      c.codebooks.push_back(join_codebooks(kind, of_heads));
    }
  return c;
}

}  // namespace lowkey
