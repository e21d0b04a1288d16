#include "lab/key_spectrum.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace lowkey {
namespace {

TEST(KeySpectrum, OfEqualVariancesIsFull) {
  const std::vector<float> equal(8, 3.f);
  EXPECT_DOUBLE_EQ(entropy_share(equal), 1);
  EXPECT_NEAR(effective_rank(equal), 8, 1e-12);
  EXPECT_DOUBLE_EQ(share_held(equal, 2), 0.25);
}

TEST(KeySpectrum, OfOneDirectionIsEmpty) {
  const std::vector<float> one{5.f, 0.f, 0.f};
  EXPECT_DOUBLE_EQ(entropy_share(one), 0);
  EXPECT_DOUBLE_EQ(effective_rank(one), 1);
  EXPECT_DOUBLE_EQ(share_held(one, 1), 1);
}

TEST(KeySpectrum, OfTwoUnequalOnes) {
  const std::vector<float> two{3.f, 1.f, 0.f, 0.f};
  const double nats = -(0.75 * std::log(0.75) + 0.25 * std::log(0.25));
  EXPECT_DOUBLE_EQ(entropy_share(two), nats / std::log(4));
  EXPECT_DOUBLE_EQ(effective_rank(two), std::exp(nats));
}

TEST(KeySpectrum, OfNothing) {
  EXPECT_EQ(entropy_share(std::vector<float>{2.f}), 1);
  EXPECT_EQ(entropy_share(std::vector<float>{0.f, 0.f}), 1);
  EXPECT_NEAR(effective_rank(std::vector<float>{0.f, 0.f}), 2, 1e-12);
}

}  // namespace
}  // namespace lowkey
