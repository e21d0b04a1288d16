#include "linalg/scalar_quantiser.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>
#include <numeric>

#include "base/error.h"

namespace lowkey {
namespace {

// Mean squared error of a uniform quantiser of a standard Gaussian number, by the midpoint rule.
double distortion(int bits, double step) {
  constexpr double kReach = 9, kWidth = 1e-4;
  const int levels = 1 << bits;
  double sum = 0;
  for (double x = -kReach + kWidth / 2; x < kReach; x += kWidth) {
    const double level = std::clamp(std::floor(x / step + levels / 2.0), 0.0, levels - 1.0);
    const double error = x - (level - (levels - 1) / 2.0) * step;
    sum += error * error * std::exp(-x * x / 2);
  }
  return bits == 0 ? 1 : sum * kWidth / std::sqrt(2 * std::numbers::pi);
}

TEST(ScalarQuantiser, StepsAreTheBestOnes) {
  EXPECT_EQ(gaussian_distortion(0), 1);
  EXPECT_NEAR(gaussian_step(1), 2 * std::sqrt(2 / std::numbers::pi), 1e-7);  // the mean of |x| on both sides
  for (int bits = 1; bits <= kMaxBits; ++bits) {
    const double step = gaussian_step(bits), best = distortion(bits, step);
    // The midpoint rule errs by kWidth^2 / 24 per unit of the second derivative, which is at most 2 + 4 x^2.
    EXPECT_NEAR(best, gaussian_distortion(bits), 1e-4 * 1e-4 / 24 * 10 + 1e-9) << bits;
    EXPECT_LT(best, distortion(bits, step * 1.01)) << bits;
    EXPECT_LT(best, distortion(bits, step * 0.99)) << bits;
  }
}

TEST(AllocateBits, FollowsTheVariance) {
  EXPECT_EQ(allocate_bits(std::vector<double>{1, 1, 1, 1}, 8), (std::vector<int>{2, 2, 2, 2}));
  // One bit more is worth it for about four times the variance.
  EXPECT_EQ(allocate_bits(std::vector<double>{64, 16, 4, 1}, 10), (std::vector<int>{4, 3, 2, 1}));
  EXPECT_EQ(allocate_bits(std::vector<double>{5, 0}, 8), (std::vector<int>{8, 0}));
  EXPECT_EQ(allocate_bits(std::vector<double>{5, 0}, 9), (std::vector<int>{8, 1}));
  EXPECT_EQ(allocate_bits(std::vector<double>{1, 1}, 1), (std::vector<int>{1, 0}));
}

TEST(AllocateBits, NoOtherAllocationLosesLess) {
  const std::vector<double> variances{7.5, 3.1, 0.9, 0.4};
  const auto loss = [&](const std::vector<int>& bits) {
    double sum = 0;
    for (size_t i = 0; i < bits.size(); ++i) sum += variances[i] * gaussian_distortion(bits[i]);
    return sum;
  };
  constexpr int kTotal = 9;
  const double found = loss(allocate_bits(variances, kTotal));
  for (int a = 0; a <= kMaxBits; ++a)
    for (int b = 0; a + b <= kTotal && b <= kMaxBits; ++b)
      for (int c = 0; a + b + c <= kTotal && c <= kMaxBits; ++c) {
        const int d = kTotal - a - b - c;
        if (d > kMaxBits) continue;
        EXPECT_LE(found, loss({a, b, c, d}) * (1 + 1e-12)) << a << b << c << d;
      }
}

TEST(AllocateBits, RefusesWhatDoesNotFit) {
  EXPECT_THROW(allocate_bits(std::vector<double>{1, 1}, 17), Error);
  EXPECT_THROW(allocate_bits(std::vector<double>{1, 1}, -1), Error);
  EXPECT_THROW(allocate_bits(std::vector<double>{1, -1}, 2), Error);
  EXPECT_THROW(allocate_bits(std::vector<double>{1, std::nan("")}, 2), Error);
  EXPECT_THROW(allocate_bits(std::vector<double>{1, 1}, 2, 9), Error);
}

}  // namespace
}  // namespace lowkey
