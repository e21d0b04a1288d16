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
