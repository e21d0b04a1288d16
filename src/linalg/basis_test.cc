#include "linalg/basis.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "base/error.h"

namespace lowkey {
namespace {

constexpr size_t kDims = 24;
constexpr double kEps = std::numeric_limits<double>::epsilon();
using Numbers = std::vector<double>;

double at(const Numbers& m, size_t row, size_t column) { return m[row * kDims + column]; }

// a b^T.
Numbers product(const Numbers& a, const Numbers& b) {
  Numbers c(kDims * kDims, 0.0);
  for (size_t i = 0; i < kDims; ++i)
    for (size_t j = 0; j < kDims; ++j)
      for (size_t k = 0; k < kDims; ++k) c[i * kDims + j] += at(a, i, k) * at(b, j, k);
  return c;
}

Numbers transposed(const Numbers& a) {
  Numbers t(a.size());
  for (size_t i = 0; i < kDims; ++i)
    for (size_t j = 0; j < kDims; ++j) t[j * kDims + i] = at(a, i, j);
  return t;
}

Numbers random_covariance(int seed, double decay) {
  std::mt19937 random(static_cast<unsigned>(seed));
  std::normal_distribution<double> normal;
  Numbers root(kDims * kDims);
  for (size_t i = 0; i < kDims; ++i)
    for (size_t j = 0; j < kDims; ++j) root[i * kDims + j] = normal(random) * std::pow(decay, static_cast<double>(j));
  return product(root, root);
}

void expect_diagonal(const Numbers& m, const Numbers& diagonal, double tolerance) {
  for (size_t i = 0; i < kDims; ++i)
    for (size_t j = 0; j < kDims; ++j) EXPECT_NEAR(at(m, i, j), i == j ? diagonal[i] : 0, tolerance) << i << ',' << j;
}

TEST(Pca, DiagonalisesTheCovariance) {
  const Numbers covariance = random_covariance(1, 0.8);
  const Basis basis = pca(covariance);
  const double tolerance = 100 * kDims * kEps * basis.spectrum[0];
  expect_diagonal(product(basis.key, transposed(transposed(basis.key))), Numbers(kDims, 1), 100 * kDims * kEps);
  expect_diagonal(product(product(basis.key, covariance), basis.key), basis.spectrum, tolerance);
  for (size_t i = 1; i < kDims; ++i) EXPECT_GE(basis.spectrum[i - 1], basis.spectrum[i]);
  EXPECT_EQ(basis.key, basis.query);
}

TEST(Pca, OfADiagonalSortsIt) {
  Numbers covariance(kDims * kDims, 0.0);
  for (size_t i = 0; i < kDims; ++i) covariance[i * kDims + i] = static_cast<double>(i);
  const Basis basis = pca(covariance);
  for (size_t i = 0; i < kDims; ++i) {
    EXPECT_NEAR(basis.spectrum[i], static_cast<double>(kDims - 1 - i), kDims * kDims * kEps);
    EXPECT_NEAR(at(basis.key, i, kDims - 1 - i), 1, kDims * kEps);
  }
}

TEST(BalancedBasis, KeepsScoresAndBalances) {
  const Numbers keys = random_covariance(2, 0.8), queries = random_covariance(3, 0.9);
  const Basis basis = balanced_basis(keys, queries);
  // The inverses amplify rounding by the condition of the two moments, at most a millionth's.
  const double tolerance = 1e6 * kDims * kEps;
  expect_diagonal(product(transposed(basis.query), transposed(basis.key)), Numbers(kDims, 1), tolerance);
  const double top = basis.spectrum[0];
  // The ridge, a millionth of the mean variance, is the difference.
  expect_diagonal(product(product(basis.key, keys), basis.key), basis.spectrum, 1e-3 * top);
  expect_diagonal(product(product(basis.query, queries), basis.query), basis.spectrum, 1e-3 * top);
}

TEST(BalancedBasis, EqualsPcaForWhiteQueries) {
  const Numbers keys = random_covariance(4, 0.8);
  Numbers white(kDims * kDims, 0.0);
  for (size_t i = 0; i < kDims; ++i) white[i * kDims + i] = 1;
  const Basis plain = pca(keys), balanced = balanced_basis(keys, white);
  for (size_t i = 0; i < kDims; ++i)
    EXPECT_NEAR(balanced.spectrum[i], std::sqrt(plain.spectrum[i]), 1e-3 * std::sqrt(plain.spectrum[0])) << i;
  EXPECT_LT(rank_at(balanced.spectrum, 0.5), static_cast<int>(kDims));
}

TEST(BalancedBasis, ExistsForKeysInAPlane) {
  Numbers keys(kDims * kDims, 0.0);
  keys[0] = 1, keys[kDims + 1] = 0.5;
  const Basis basis = balanced_basis(keys, random_covariance(5, 0.9));
  for (double x : basis.query) EXPECT_TRUE(std::isfinite(x));
  EXPECT_LE(rank_at(basis.spectrum, 0.9), 2);
}

TEST(WeightedBasis, LiesBetweenPcaAndBalance) {
  const Numbers keys = random_covariance(2, 0.8), queries = random_covariance(3, 0.9);
  const Basis plain = pca(keys), none = weighted_basis(keys, queries, 0);
  for (size_t i = 0; i < kDims * kDims; ++i) EXPECT_NEAR(none.key[i], plain.key[i], 1e4 * kDims * kEps) << i;
  for (double power : {0.25, 0.375, 0.5}) {
    const Basis basis = weighted_basis(keys, queries, power);
    // Rounding is amplified by the condition of the metric, at most (1e4 kDims)^power each way.
    const double tolerance = 1e5 * kDims * kDims * kEps;
    expect_diagonal(product(transposed(basis.query), transposed(basis.key)), Numbers(kDims, 1), tolerance);
    expect_diagonal(product(product(basis.key, keys), basis.key), basis.spectrum, tolerance * basis.spectrum[0]);
    for (size_t i = 1; i < kDims; ++i) EXPECT_GE(basis.spectrum[i - 1], basis.spectrum[i]);
  }
}

TEST(MixedBasis, IsOrthogonalAndSorted) {
  const Numbers a = random_covariance(8, 0.8), b = random_covariance(9, 0.9);
  const Basis basis = mixed_basis(a, b);
  expect_diagonal(product(basis.key, transposed(transposed(basis.key))), Numbers(kDims, 1), 100 * kDims * kEps);
  const Numbers variances = diagonal_moment(basis.key, a);
  for (size_t i = 0; i < kDims; ++i) {
    EXPECT_NEAR(variances[i], basis.spectrum[i], 100 * kDims * kDims * kEps * basis.spectrum[0]);
    if (i > 0) {
      EXPECT_GE(basis.spectrum[i - 1], basis.spectrum[i]);
    }
  }
  const Basis same = mixed_basis(a, a), plain = pca(a);
  for (size_t i = 0; i < kDims; ++i) EXPECT_NEAR(same.spectrum[i], plain.spectrum[i], 1e4 * kEps * plain.spectrum[0]);
}

TEST(RankAt, CountsDirections) {
  const Numbers spectrum{4, 3, 2, 1};
  EXPECT_EQ(rank_at(spectrum, 0.4), 1);
  EXPECT_EQ(rank_at(spectrum, 0.41), 2);
  EXPECT_EQ(rank_at(spectrum, 0.9), 3);
  EXPECT_EQ(rank_at(spectrum, 1), 4);
  EXPECT_EQ(rank_at(Numbers{0, 0}, 0.9), 1);
}

TEST(DiagonalMoment, IsTheDiagonal) {
  const Numbers rows = random_covariance(6, 0.9), moment = random_covariance(7, 0.9);
  const Numbers whole = product(product(rows, moment), rows), diagonal = diagonal_moment(rows, moment);
  for (size_t i = 0; i < kDims; ++i)
    EXPECT_NEAR(diagonal[i], at(whole, i, i), 100 * kDims * kDims * kEps * std::abs(at(whole, i, i)));
}

TEST(Basis, RefusesWhatIsNoMoment) {
  EXPECT_THROW(pca(Numbers{1, 2, 3}), Error);
  EXPECT_THROW(pca(Numbers{1, 0, 0, std::nan("")}), Error);
  EXPECT_THROW(balanced_basis(Numbers{1}, Numbers{1, 0, 0, 1}), Error);
  EXPECT_THROW(weighted_basis(Numbers{1}, Numbers{1, 0, 0, 1}, 0.5), Error);
  EXPECT_THROW(mixed_basis(Numbers{1}, Numbers{1, 0, 0, 1}), Error);
  EXPECT_THROW(diagonal_moment(Numbers{1}, Numbers{1, 0, 0, 1}), Error);
}

}  // namespace
}  // namespace lowkey
