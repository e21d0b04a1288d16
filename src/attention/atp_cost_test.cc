#include "attention/atp_cost.h"

#include <gtest/gtest.h>

namespace lowkey {
namespace {

TEST(AtpCost, CountsTheProducts) {
  const LinearCost c{.tokens = 100, .width = 10, .rank = 5, .outputs = 20};
  EXPECT_EQ(c.direct(), 2. * 100 * 10 * 20);
  EXPECT_EQ(c.factored(), 2. * 5 * 10 * 20 + 2. * 100 * 5 * 20);
}

TEST(AtpCost, PaysForFewDirectionsOfManyTokens) {
  // The share of the direct cost is R / T + R / C, whatever the outputs.
  for (int64_t outputs : {64, 4096}) {
    const auto pays = [&](int64_t tokens, int64_t rank) {
      return factored_pays({.tokens = tokens, .width = 768, .rank = rank, .outputs = outputs});
    };
    EXPECT_TRUE(pays(8192, 128));
    EXPECT_TRUE(pays(8192, 384));
    EXPECT_FALSE(pays(8192, 640));
    EXPECT_TRUE(pays(512, 128));
    EXPECT_FALSE(pays(512, 256));  // half of a short text: 1/2 + 1/3
    EXPECT_FALSE(pays(128, 128));
  }
}

TEST(AtpCost, AFactorOfItsOwnNeedsAWideLayer) {
  const auto pays = [](int64_t rank, int64_t outputs) {
    return factor_pays_for_itself({.tokens = 8192, .width = 768, .rank = rank, .outputs = outputs});
  };
  EXPECT_TRUE(pays(128, 3072));
  EXPECT_FALSE(pays(384, 3072));
  EXPECT_FALSE(pays(128, 256));
}

}  // namespace
}  // namespace lowkey
