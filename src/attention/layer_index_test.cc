#include "attention/layer_index.h"

#include <gtest/gtest.h>

#include <map>

#include "attention/calibration_cases.h"
#include "base/error.h"
#include "linalg/scalar_quantiser.h"

namespace lowkey {
namespace {

constexpr int kHeads = 2, kDims = 32;
constexpr int64_t kTokens = 3000;

double dot(const float* a, const float* b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += double{a[i]} * b[i];
  return sum;
}

// q . (k - mean) as the index has it (ops/key_index.h).
double index_score(const IndexHead& head, const float* q, const float* k) {
  const int64_t rows = head.rotation.rows(), dims = head.rotation.columns();
  std::vector<float> centred(static_cast<size_t>(dims));
  for (int64_t d = 0; d < dims; ++d) centred[static_cast<size_t>(d)] = k[d] - head.mean[d];
  std::vector<double> left, u;
  for (int64_t r = 0; r < rows; ++r) {
    left.push_back(dot(head.rotation.f32_row(r), centred.data(), dims));
    u.push_back(dot(head.query_rotation.f32_row(r), q, dims));
  }
  double score = 0;
  for (const IndexNibble& nibble : head.nibbles) {
    int best = 0;
    double least = 1e300;
    for (int e = 0; e < 16; ++e) {
      double distance = 0;
      for (int w = 0; w < nibble.width; ++w)
        distance += std::pow(left[static_cast<size_t>(nibble.begin + w)] - nibble.entries[w * 16 + e], 2);
      if (distance < least) least = distance, best = e;
    }
    for (int w = 0; w < nibble.width; ++w) {
      const auto c = static_cast<size_t>(nibble.begin + w);
      score += u[c] * nibble.entries[w * 16 + best];
      left[c] -= nibble.entries[w * 16 + best];
    }
  }
  return score;
}

class LayerIndexTest : public testing::Test {
 protected:
  // Mean squared error of scores, as a share of their variance.
  double error_of(const IndexSpec& spec) const {
    const LayerIndex index(calibration_, 0, spec, RopeLayout::kHalf);
    double lost = 0, whole = 0;
    for (int h = 0; h < kHeads; ++h) {
      const IndexHead& head = index.index().heads[static_cast<size_t>(h)];
      for (int64_t t = 0; t < kTokens; ++t) {
        const float *q = world_.query(static_cast<size_t>(h), t), *k = world_.key(static_cast<size_t>(h), t);
        const double exact = dot(q, k, kDims) - dot(q, head.mean, kDims);
        lost += std::pow(exact - index_score(head, q, k), 2);
        whole += exact * exact;
      }
    }
    return lost / whole;
  }

  const KeyWorld world_{1, kHeads, kDims, kTokens};
  const Calibration calibration_ = fit_world(world_, {16, 32, 64, 128});
};

// Keys and queries are independent here, so the error of a score is the sum over coordinates of what its quantiser
// loses, weighed by the query: what allocation and scales are made from.
TEST_F(LayerIndexTest, LosesWhatTheoryPredicts) {
  for (BasisKind kind : kBasisKinds)
    for (int bits : {32, 64, 128}) {
      const KeyBasis& basis = calibration_.basis(kind);
      double lost = 0, whole = 0;
      for (size_t head = 0; head < kHeads; ++head) {
        std::vector<double> importance;
        for (size_t d = 0; d < kDims; ++d)
          importance.push_back(double{basis.variance[head * kDims + d]} * basis.weight[head * kDims + d]);
        const auto given = allocate_bits(importance, bits);
        for (size_t d = 0; d < kDims; ++d) {
          lost += importance[d] * gaussian_distortion(given[d]);
          whole += importance[d];
        }
      }
      const double error =
          error_of({.codes = IndexCodes::kBits, .bits = bits, .basis = kind, .follow = BitsFollow::kScores});
      // The mean of 6000 products of Gaussians, whose kurtosis is 9, in numerator and denominator, six deviations; and
      // what moving bits to fill nibbles costs.
      EXPECT_NEAR(error / (lost / whole), 1, 6 * std::sqrt(8.0 / (kHeads * kTokens)) * std::sqrt(2.0) + 0.15)
          << name(kind) << ' ' << bits;
    }
}

// With variances that fall off slowly, as those of real keys do; nibbles of one stage have at most 4 bits for a
// coordinate, which is too few where one of them has most of the variance.
TEST_F(LayerIndexTest, CodebooksLoseLess) {
  for (BasisKind kind : {BasisKind::kPost, BasisKind::kWeighted})
    for (int bits : {16, 32, 64}) {
      const double uniform =
          error_of({.codes = IndexCodes::kBits, .bits = bits, .basis = kind, .follow = BitsFollow::kKeys});
      const double fitted = error_of({.codes = IndexCodes::kPq, .bits = bits, .basis = kind});
      EXPECT_LT(fitted, uniform) << name(kind) << ' ' << bits;
    }
}

TEST_F(LayerIndexTest, FollowingScoresLosesLess) {
  IndexSpec spec{.codes = IndexCodes::kBits, .bits = 48, .follow = BitsFollow::kKeys};
  const double by_keys = error_of(spec);
  spec.follow = BitsFollow::kScores;
  EXPECT_LT(error_of(spec), by_keys);
}

TEST_F(LayerIndexTest, WiderCodesLoseLess) {
  const double sign = error_of({.codes = IndexCodes::kSign}), four = error_of({.codes = IndexCodes::kInt4}),
               eight = error_of({.codes = IndexCodes::kInt8});
  EXPECT_LT(four, sign / 10);  // distortions: 0.363, 0.0115, 0.0000877
  EXPECT_LT(eight, four / 50);
  EXPECT_LT(eight, 2e-4);
  EXPECT_GT(error_of({.codes = IndexCodes::kInt8, .dims = 8}), eight);
}

TEST_F(LayerIndexTest, HasTheNibblesItSays) {
  const std::map<int, IndexSpec> cases{{16, {.codes = IndexCodes::kPq, .bits = 64}},
                                       {24, {.codes = IndexCodes::kBits, .bits = 96}},
                                       {8, {.codes = IndexCodes::kSign}},
                                       {32, {.codes = IndexCodes::kInt4}},
                                       {20, {.codes = IndexCodes::kInt8, .dims = 10}}};
  for (const auto& [nibbles, spec] : cases) {
    const LayerIndex index(calibration_, 0, spec, RopeLayout::kHalf);
    EXPECT_EQ(index_nibbles(spec, kDims), nibbles);
    EXPECT_EQ(index.index().nibbles(), nibbles);
    for (const IndexHead& head : index.index().heads) {
      EXPECT_EQ(head.rotation.rows(), index.index().heads[0].rotation.rows());
      for (const IndexNibble& n : head.nibbles) EXPECT_LE(n.begin + n.width, head.rotation.rows());
    }
  }
  const LayerIndex narrow(calibration_, 0, {.codes = IndexCodes::kInt8, .dims = 10}, RopeLayout::kHalf);
  EXPECT_EQ(narrow.index().heads[0].rotation.rows(), 10);
}

// A model whose heads lie in the other layout gets the same codes from its own keys.
TEST_F(LayerIndexTest, FollowsTheModelsLayout) {
  const auto interleaved = [](const float* x) {
    std::vector<float> y(kDims);
    for (size_t d = 0; d < kDims; ++d) y[d % (kDims / 2) * 2 + d / (kDims / 2)] = x[d];
    return y;
  };
  const IndexSpec spec{.codes = IndexCodes::kPq, .bits = 64, .basis = BasisKind::kBalanced};
  const LayerIndex half(calibration_, 0, spec, RopeLayout::kHalf);
  const LayerIndex other(calibration_, 0, spec, RopeLayout::kInterleaved);
  for (int64_t t = 0; t < 200; ++t) {
    const float *q = world_.query(1, t), *k = world_.key(1, t);
    const double a = index_score(half.index().heads[1], q, k);
    const double b = index_score(other.index().heads[1], interleaved(q).data(), interleaved(k).data());
    EXPECT_NEAR(a, b, 1e-12 * kDims * (1 + std::abs(a)));  // the same products in another order, in f64
  }
}

TEST_F(LayerIndexTest, RefusesWhatThereIsNot) {
  const auto make = [&](const IndexSpec& spec, int layer = 0) {
    return LayerIndex(calibration_, layer, spec, RopeLayout::kHalf);
  };
  EXPECT_THROW(make({.codes = IndexCodes::kPq, .bits = 48}), Error);  // no such codebooks
  EXPECT_THROW(make({.codes = IndexCodes::kBits, .bits = 30}), Error);
  EXPECT_THROW(make({.codes = IndexCodes::kBits, .bits = 0}), Error);
  EXPECT_THROW(make({.codes = IndexCodes::kBits, .bits = 8 * kDims + 4}), Error);
  EXPECT_THROW(make({.codes = IndexCodes::kInt8, .dims = kDims + 1}), Error);
  EXPECT_THROW(make({.codes = IndexCodes::kSign, .dims = 6}), Error);
  EXPECT_THROW(make({.codes = IndexCodes::kSign}, 1), Error);
}

}  // namespace
}  // namespace lowkey
