#include "linalg/cluster_rows.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "base/error.h"

namespace lowkey {
namespace {

struct Clusters {
  std::vector<float> centres;
  std::vector<int32_t> codes;
};

Clusters cluster(std::vector<float>& x, int64_t width, int64_t k) {
  const auto n = static_cast<int64_t>(x.size()) / width;
  Clusters c{std::vector<float>(static_cast<size_t>(k * width)), std::vector<int32_t>(static_cast<size_t>(n))};
  cluster_rows(Context(1), {.x = f32_view(x.data(), {n, width}),
                            .rounds = 20,
                            .centres = f32_view(c.centres.data(), {k, width}),
                            .codes = c.codes});
  return c;
}

TEST(ClusterRows, FindsClumps) {
  constexpr int kClumps = 5, kEach = 20, kWidth = 3;
  std::mt19937 random(1);
  std::uniform_real_distribution<float> noise(-1, 1);
  std::vector<float> x;
  for (int i = 0; i < kClumps * kEach; ++i)
    for (int d = 0; d < kWidth; ++d) x.push_back(noise(random) + (d == 0 ? 100.f * static_cast<float>(i / kEach) : 0));
  const Clusters c = cluster(x, kWidth, kClumps);
  for (int i = 0; i < kClumps * kEach; ++i) {
    EXPECT_EQ(c.codes[static_cast<size_t>(i)], c.codes[static_cast<size_t>(i / kEach * kEach)]) << i;
    EXPECT_NEAR(c.centres[static_cast<size_t>(c.codes[static_cast<size_t>(i)]) * kWidth], 100 * (i / kEach), 1);
  }
}

TEST(ClusterRows, CentresAreMeansAndNoneIsEmpty) {
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  for (int64_t k : {1, 7, 39, 40}) {
    std::vector<float> x(40 * 4);
    for (float& v : x) v = normal(random);
    std::copy_n(x.begin(), 40, x.begin() + 40);  // each of ten rows is there twice
    const Clusters c = cluster(x, 4, k);
    for (int64_t j = 0; j < k; ++j) {
      double count = 0, sums[4] = {};
      for (size_t t = 0; t < 40; ++t) {
        if (c.codes[t] != j) continue;
        ++count;
        for (size_t d = 0; d < 4; ++d) sums[d] += x[t * 4 + d];
      }
      ASSERT_GT(count, 0) << "cluster " << j << " of " << k;
      for (size_t d = 0; d < 4; ++d)
        EXPECT_NEAR(c.centres[static_cast<size_t>(j) * 4 + d], sums[d] / count, 40 * 0x1p-24 * 4);
    }
  }
}

TEST(ClusterRows, RefusesMoreClustersThanRows) {
  std::vector<float> x(12);
  EXPECT_THROW(cluster(x, 4, 4), Error);
}

}  // namespace
}  // namespace lowkey
