#include "lab/statistics.h"

#include <gtest/gtest.h>

#include <cmath>

#include "lowkey/error.h"

namespace lowkey {
namespace {

TEST(Statistics, MeanErrorAndInterval) {
  const Estimate e = estimate(std::vector<double>{1, 2, 6});
  EXPECT_DOUBLE_EQ(e.mean, 3);
  EXPECT_DOUBLE_EQ(e.error, std::sqrt(7.0 / 3));  // squares 4 + 1 + 9, over 2, over 3
  EXPECT_NEAR(e.low, 3 - 4.303 * e.error, 1e-12);
  EXPECT_NEAR(e.high, 3 + 4.303 * e.error, 1e-12);
}

TEST(Statistics, OneObservationSaysNothingOfItsError) {
  const Estimate e = estimate(std::vector<double>{5});
  EXPECT_EQ(e.mean, 5);
  EXPECT_TRUE(std::isnan(e.error));
  EXPECT_TRUE(std::isinf(e.low) && std::isinf(e.high));
  EXPECT_THROW(estimate({}), Error);
}

TEST(Statistics, TheSpreadOfTimings) {
  const Spread odd = spread(std::vector<double>{3, 9, 1}), even = spread(std::vector<double>{4, 1, 3, 2});
  EXPECT_EQ(odd.median, 3);
  EXPECT_EQ(odd.least, 1);
  EXPECT_EQ(odd.most, 9);
  EXPECT_EQ(even.median, 3);
  EXPECT_THROW(spread({}), Error);
}

TEST(Statistics, BootstrapOfManyIsTheNormalInterval) {
  std::vector<double> x(400), twice(400, 2.0);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<double>(i % 20);
  const Estimate e = estimate(x);
  const Interval b = bootstrap(x);
  // A percentile of 10,000 draws is uncertain by about 2.7 % of the standard error; 5 of those.
  EXPECT_NEAR(b.low, e.low, 0.135 * e.error);
  EXPECT_NEAR(b.high, e.high, 0.135 * e.error);
  EXPECT_EQ(bootstrap(x).low, b.low);
  EXPECT_DOUBLE_EQ(bootstrap(x, twice).low, b.low);
}

TEST(Statistics, BootstrapOfFewReachesTheirEnds) {
  const std::vector<double> x{1, 2, 6};
  EXPECT_EQ(bootstrap(x).low, 1);
  EXPECT_EQ(bootstrap(x).high, 6);
  EXPECT_TRUE(std::isinf(bootstrap(std::vector<double>{5}).high));
  EXPECT_THROW(bootstrap({}), Error);
  EXPECT_THROW(bootstrap(x, std::vector<double>{1}), Error);
}

TEST(Statistics, BootstrapWeighs) {
  std::vector<double> x(100, 1.0), weights(100, 1.0);
  for (size_t i = 0; i < 50; ++i) x[i] = 0, weights[i] = 3;
  const Interval b = bootstrap(x, weights);
  EXPECT_LT(b.low, 0.25);
  EXPECT_GT(b.high, 0.25);
  EXPECT_LT(b.high, 0.5);
}

// Values of the usual tables, on both sides of where the formula takes over.
TEST(Statistics, StudentsPoints) {
  EXPECT_NEAR(student_t(1), 12.706, 2e-3);
  EXPECT_NEAR(student_t(20), 2.086, 2e-3);
  EXPECT_NEAR(student_t(21), 2.080, 2e-3);
  EXPECT_NEAR(student_t(30), 2.042, 2e-3);
  EXPECT_NEAR(student_t(120), 1.980, 2e-3);
}

}  // namespace
}  // namespace lowkey
