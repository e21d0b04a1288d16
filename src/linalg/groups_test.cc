#include "linalg/groups.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <numeric>

#include "base/error.h"

namespace lowkey {
namespace {

TEST(GroupDistortion, IsThatOfWaterFilling) {
  const std::vector<double> one{4}, two{2, 2}, uneven{8, 1e-6};
  EXPECT_NEAR(group_distortion(one), 2.44 * 4 / 256, 1e-12);
  EXPECT_NEAR(group_distortion(two), 1.8 * 2 * 2 / 16.0, 1e-12);
  // The second coordinate is too small for any bits: it is lost whole.
  EXPECT_NEAR(group_distortion(uneven), 1.8 * 8 / 256 + 1e-6, 1e-12);
  EXPECT_EQ(group_distortion(std::vector<double>{0, 0}), 0);
}

TEST(GroupDistortion, NeverLosesMoreThanThereIs) {
  for (size_t width = 1; width <= 16; ++width) {
    const std::vector<double> variances(width, 1.0);
    EXPECT_LE(group_distortion(variances), static_cast<double>(width));
    EXPECT_GT(group_distortion(variances), 0);
  }
}

// Every way of cutting 9 coordinates in 3 groups and a rest, against the dynamic programme.
TEST(GroupCoordinates, NoOtherGroupsLoseLess) {
  std::vector<double> variances;
  for (int i = 0; i < 9; ++i) variances.push_back(std::pow(0.6, i));
  const auto loss = [&](const std::vector<int>& widths) {
    size_t at = 0;
    double sum = 0;
    for (int w : widths) {
      sum += group_distortion(std::span(variances).subspan(at, static_cast<size_t>(w)));
      at += static_cast<size_t>(w);
    }
    return std::accumulate(variances.begin() + static_cast<std::ptrdiff_t>(at), variances.end(), sum);
  };
  const double found = loss(group_coordinates(variances, 3));
  for (int a = 1; a <= 6; ++a)
    for (int b = 1; b <= 6; ++b)
      for (int c = 1; c <= 6 && a + b + c <= 9; ++c) EXPECT_LE(found, loss({a, b, c}) * (1 + 1e-12)) << a << b << c;
}

TEST(GroupCoordinates, OneEachWhenThereAreAsMany) {
  EXPECT_EQ(group_coordinates(std::vector<double>{3, 2, 1}, 3), (std::vector<int>{1, 1, 1}));
}

TEST(GroupCoordinates, RefusesWhatDoesNotFit) {
  EXPECT_THROW(group_coordinates(std::vector<double>{1, 1}, 3), Error);
  EXPECT_THROW(group_coordinates(std::vector<double>{1, 1}, 0), Error);
}

}  // namespace
}  // namespace lowkey
