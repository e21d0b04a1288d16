#include "linalg/nibbles.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "base/error.h"
#include "linalg/scalar_quantiser.h"

namespace lowkey {
namespace {

// What ops/key_index.h does: each nibble takes away the nearest of its entries. Returns what is left of z.
std::vector<double> left_over(const NibblePlan& plan, std::span<const double> deviations, std::vector<double> z) {
  for (size_t n = 0; n < plan.nibbles.size(); ++n) {
    const auto entries = uniform_entries(plan, static_cast<int>(n), deviations);
    const size_t begin = static_cast<size_t>(plan.nibbles[n].begin), width = plan.nibbles[n].bits.size();
    size_t best = 0;
    double least = 1e300;
    for (size_t e = 0; e < 16; ++e) {
      double distance = 0;
      for (size_t i = 0; i < width; ++i) distance += std::pow(z[begin + i] - entries[i * 16 + e], 2);
      if (distance < least) least = distance, best = e;
    }
    for (size_t i = 0; i < width; ++i) z[begin + i] -= entries[i * 16 + best];
  }
  return z;
}

void expect_sound(const NibblePlan& plan, int total) {
  std::vector<int> order = plan.order;
  std::sort(order.begin(), order.end());
  for (size_t i = 0; i < order.size(); ++i) EXPECT_EQ(order[i], static_cast<int>(i));
  EXPECT_EQ(std::accumulate(plan.bits.begin(), plan.bits.end(), 0), total);
  EXPECT_EQ(plan.nibbles.size(), static_cast<size_t>(total / 4));
  std::vector<int> given(plan.bits.size(), 0);
  for (const Nibble& nibble : plan.nibbles) {
    EXPECT_EQ(std::accumulate(nibble.bits.begin(), nibble.bits.end(), 0), 4);
    for (size_t i = 0; i < nibble.bits.size(); ++i)
      given[static_cast<size_t>(plan.order[static_cast<size_t>(nibble.begin) + i])] += nibble.bits[i];
  }
  EXPECT_EQ(given, plan.bits);
}

TEST(PlanNibbles, EveryAllocationFits) {
  std::mt19937 random(7);
  for (int round = 0; round < 500; ++round) {
    std::vector<int> bits(16);
    for (int& b : bits) b = static_cast<int>(random() % 9);
    const int extra = std::accumulate(bits.begin(), bits.end(), 0) % 4;
    for (int i = 0; i < extra; ++i) --*std::max_element(bits.begin(), bits.end());
    const int total = std::accumulate(bits.begin(), bits.end(), 0);
    if (total == 0) continue;
    SCOPED_TRACE(round);
    expect_sound(plan_nibbles(bits), total);
  }
}

TEST(PlanNibbles, SharesAsTold) {
  const NibblePlan plan = plan_nibbles(std::vector<int>{6, 4, 3, 2, 1, 0});
  EXPECT_EQ(plan.bits, (std::vector<int>{6, 4, 3, 2, 1, 0}));
  EXPECT_EQ(plan.order.back(), 5);
  ASSERT_EQ(plan.nibbles.size(), 4u);
  EXPECT_TRUE(plan.nibbles[0].coarse);
  EXPECT_EQ(plan.nibbles[1].bits, (std::vector<int>{4}));
  EXPECT_EQ(plan.nibbles[2].bits, (std::vector<int>{3, 1}));
  EXPECT_EQ(plan.nibbles[3].bits, (std::vector<int>{2, 2}));  // two of coordinate 0's six, and coordinate 3
  // Two of 3 bits with nothing to share with.
  EXPECT_EQ(plan_nibbles(std::vector<int>{3, 3, 2}).bits, (std::vector<int>{4, 2, 2}));
}

TEST(PlanNibbles, RefusesPartsOfANibble) {
  EXPECT_THROW(plan_nibbles(std::vector<int>{1, 1}), Error);
  EXPECT_THROW(plan_nibbles(std::vector<int>{0, 0}), Error);
  EXPECT_THROW(plan_nibbles(std::vector<int>{9, 3}), Error);
}

// The two nibbles of 8 bits together are one uniform quantiser of 256 levels: no error beyond half a step inside.
TEST(UniformEntries, EightBitsAreExact) {
  const std::vector<double> deviations{2.5};
  const NibblePlan plan = plan_nibbles(std::vector<int>{8});
  const double step = gaussian_step(8) * deviations[0];
  const double rounding = 128 * step * 0x1p-23;  // entries are f32
  for (int i = 0; i < 2000; ++i) {
    const double z = (i / 1000.0 - 1) * 127.9 * step;
    EXPECT_LE(std::abs(left_over(plan, deviations, {z})[0]), step / 2 + rounding) << z;
  }
}

TEST(UniformEntries, LoseWhatTheTheorySays) {
  const std::vector<int> bits{7, 5, 4, 3, 2, 2, 1, 0};
  const std::vector<double> deviations{9, 6, 4, 2, 1, 1.5, 0.5, 0.1};
  const NibblePlan plan = plan_nibbles(bits);
  std::mt19937 random(11);
  std::normal_distribution<double> normal;
  constexpr int kDraws = 20000;
  std::vector<double> lost(bits.size(), 0);
  for (int draw = 0; draw < kDraws; ++draw) {
    std::vector<double> z(bits.size());
    for (size_t i = 0; i < z.size(); ++i) z[i] = normal(random) * deviations[static_cast<size_t>(plan.order[i])];
    const auto left = left_over(plan, deviations, z);
    for (size_t i = 0; i < z.size(); ++i) lost[static_cast<size_t>(plan.order[i])] += left[i] * left[i];
  }
  for (size_t i = 0; i < bits.size(); ++i) {
    const double expected = deviations[i] * deviations[i] * gaussian_distortion(plan.bits[i]);
    // Six standard errors of a mean; the overload of the outermost levels makes the squares vary, hence the 10.
    EXPECT_NEAR(lost[i] / kDraws, expected, 6 * expected * std::sqrt(10.0 / kDraws)) << "coordinate " << i;
  }
}

}  // namespace
}  // namespace lowkey
