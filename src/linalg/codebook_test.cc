#include "linalg/codebook.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "base/error.h"
#include "linalg/nibbles.h"
#include "linalg/scalar_quantiser.h"

namespace lowkey {
namespace {

// Clusters of radius 0.1 on a grid of spacing 1, each but the last with an entry that starts nearby; the last entry
// starts where no point is.
TEST(Codebook, FindsSixteenClusters) {
  constexpr int64_t kPoints = 1600;
  std::mt19937 random(3);
  std::uniform_real_distribution<float> noise(-0.1f, 0.1f);
  std::vector<float> points(2 * kPoints);
  for (int64_t i = 0; i < kPoints; ++i) {
    points[static_cast<size_t>(i)] = static_cast<float>(i % 4) + noise(random);
    points[static_cast<size_t>(kPoints + i)] = static_cast<float>(i / 4 % 4) + noise(random);
  }
  std::vector<float> entries(32, 100.0f);
  for (size_t e = 0; e < 15; ++e) {
    entries[e] = static_cast<float>(e % 4) + 0.2f;
    entries[16 + e] = static_cast<float>(e / 4) - 0.2f;
  }
  std::vector<int32_t> codes(kPoints);
  const double error = fit_codebook({points, kPoints, 2}, 30, entries, codes);
  EXPECT_LT(error, 2 * 0.1 * 0.1);  // no point farther than 0.1 in either coordinate
  std::vector<int> count(16, 0);
  for (int32_t code : codes) ++count[static_cast<size_t>(code)];
  EXPECT_EQ(*std::min_element(count.begin(), count.end()), 100);
}

TEST(Codebook, NearestIsNearest) {
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  constexpr int64_t kPoints = 777;
  constexpr int kWidth = 3;
  std::vector<float> points(kWidth * kPoints), entries(kWidth * 16);
  for (float& x : points) x = normal(random);
  for (float& x : entries) x = normal(random);
  std::vector<int32_t> codes(kPoints);
  nearest_entries({points, kPoints, kWidth}, entries, codes);
  for (int64_t i = 0; i < kPoints; ++i) {
    double chosen = 0, least = 1e30;
    for (int32_t e = 0; e < 16; ++e) {
      double distance = 0;
      for (int w = 0; w < kWidth; ++w) {
        const double d = points[static_cast<size_t>(w * kPoints + i)] - entries[static_cast<size_t>(w * 16 + e)];
        distance += d * d;
      }
      least = std::min(least, distance);
      if (e == codes[static_cast<size_t>(i)]) chosen = distance;
    }
    EXPECT_LE(chosen, least * (1 + 2 * (kWidth + 1) * 0x1p-23)) << i;  // sums of f32
  }
}

// Fitted to a Gaussian, 16 levels lose what Lloyd and Max say they must (0.009497 of the variance), less than uniform
// ones do; four coordinates of one bit lose no more than their quantisers.
TEST(Codebook, BeatsUniformEntries) {
  std::mt19937 random(9);
  std::normal_distribution<float> normal;
  constexpr int64_t kPoints = 20000;
  for (const std::vector<int>& bits : {std::vector<int>{4}, {2, 2}, {1, 1, 1, 1}}) {
    const int width = static_cast<int>(bits.size());
    std::vector<float> points(static_cast<size_t>(width * kPoints));
    for (float& x : points) x = normal(random);
    std::vector<float> entries = uniform_entries(plan_nibbles(bits), 0, std::vector<double>(bits.size(), 1.0));
    std::vector<int32_t> codes(kPoints);
    const double before = nearest_entries({points, kPoints, width}, entries, codes);
    const double after = fit_codebook({points, kPoints, width}, 50, entries, codes);
    EXPECT_LT(after, before);
    if (width == 1) {
      EXPECT_NEAR(after, 0.009497, 0.0005);
    }
  }
}

// Seeded, then fitted: as good as the best known start.
TEST(Codebook, SeedsAreSpread) {
  std::mt19937 random(13);
  std::normal_distribution<float> normal;
  constexpr int64_t kPoints = 20000;
  constexpr int kWidth = 8;
  std::vector<float> points(kWidth * kPoints), entries(kWidth * 16), again(kWidth * 16);
  for (float& x : points) x = normal(random);
  const CodebookPoints view{points, kPoints, kWidth};
  seed_codebook(view, 1, entries);
  seed_codebook(view, 1, again);
  EXPECT_EQ(entries, again);
  seed_codebook(view, 2, again);
  EXPECT_NE(entries, again);
  std::vector<int32_t> codes(kPoints);
  const double fitted = fit_codebook(view, 25, entries, codes);
  // Half a bit a coordinate: rate-distortion theory allows no less than 8 / 2; 16 entries reach about 1.38 times that.
  EXPECT_GT(fitted, 4);
  EXPECT_LT(fitted, 1.45 * 4);
}

TEST(Codebook, FewerPointsThanEntries) {
  const std::vector<float> points{1, 2, 3};
  std::vector<float> entries(16, 0.0f);
  std::vector<int32_t> codes(3);
  EXPECT_EQ(fit_codebook({points, 3, 1}, 20, entries, codes), 0);
}

TEST(Codebook, RefusesSizesThatDisagree) {
  std::vector<float> points(8), entries(32);
  std::vector<int32_t> codes(4);
  EXPECT_THROW(nearest_entries({points, 5, 2}, entries, codes), Error);
  EXPECT_THROW(nearest_entries({points, 8, 1}, entries, codes), Error);
  EXPECT_NO_THROW(nearest_entries({points, 4, 2}, entries, codes));
}

}  // namespace
}  // namespace lowkey
