#include "attention/content_covariance.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "base/error.h"

namespace lowkey {
namespace {

constexpr size_t kDims = 8;

// R_p m R_p^T; what lies behind the pairs stays.
std::vector<double> turned(const std::vector<double>& m, const std::vector<float>& frequency, double p) {
  std::vector<double> rotation(kDims * kDims, 0.0), result(kDims * kDims, 0.0);
  const size_t half = frequency.size();
  for (size_t i = 0; i < kDims; ++i) rotation[i * kDims + i] = 1;
  for (size_t i = 0; i < half; ++i) {
    const double c = std::cos(frequency[i] * p), s = std::sin(frequency[i] * p);
    rotation[i * kDims + i] = rotation[(i + half) * kDims + i + half] = c;
    rotation[i * kDims + i + half] = -s, rotation[(i + half) * kDims + i] = s;
  }
  for (size_t i = 0; i < kDims; ++i)
    for (size_t j = 0; j < kDims; ++j)
      for (size_t a = 0; a < kDims; ++a)
        for (size_t b = 0; b < kDims; ++b)
          result[i * kDims + j] += rotation[i * kDims + a] * m[a * kDims + b] * rotation[j * kDims + b];
  return result;
}

TEST(ContentCovariance, IsTheMeanOverPositions) {
  std::mt19937 random(1);
  std::normal_distribution<double> normal;
  std::vector<double> root(kDims * kDims), pre(kDims * kDims, 0.0);
  for (double& x : root) x = normal(random);
  for (size_t i = 0; i < kDims; ++i)
    for (size_t j = 0; j < kDims; ++j)
      for (size_t k = 0; k < kDims; ++k) pre[i * kDims + j] += root[i * kDims + k] * root[j * kDims + k];
  constexpr int64_t kFirst = 16, kEnd = 333;
  double trace = 0;
  for (size_t i = 0; i < kDims; ++i) trace += pre[i * kDims + i];
  for (const std::vector<float>& frequency : {std::vector{1.f, 0.3f, 0.01f, 0.01f}, {0.5f, 0.02f, 0.01f}, {0.f}}) {
    std::vector<double> mean(kDims * kDims, 0.0);
    for (int64_t p = kFirst; p < kEnd; ++p) {
      const auto at = turned(pre, frequency, static_cast<double>(p));
      for (size_t i = 0; i < mean.size(); ++i) mean[i] += at[i] / static_cast<double>(kEnd - kFirst);
    }
    const auto content = content_covariance(pre, frequency, kFirst, kEnd);
    // Sums of 300 terms, of angles up to 333.
    for (size_t i = 0; i < mean.size(); ++i)
      EXPECT_NEAR(content[i], mean[i], 1000 * std::numeric_limits<double>::epsilon() * trace) << i;
  }
}

TEST(ContentCovariance, RefusesSizesThatDisagree) {
  const std::vector<float> frequency{1, 0.5f};
  EXPECT_THROW(content_covariance(std::vector<double>(4), frequency, 0, 1), Error);
  EXPECT_THROW(content_covariance(std::vector<double>(17), frequency, 0, 1), Error);
  EXPECT_THROW(content_covariance(std::vector<double>(16), frequency, 1, 1), Error);
}

}  // namespace
}  // namespace lowkey
