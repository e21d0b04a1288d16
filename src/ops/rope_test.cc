#include "ops/rope.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "ops/attention_bound.h"
#include "ops/attention_cases.h"

namespace lowkey {
namespace {

struct RopeCase {
  int64_t tokens, heads, dim;
  int64_t rotated = 0;  // R; 0: all of D
  float amplitude = 1;
};

class Rope : public testing::TestWithParam<std::tuple<RopeLayout, Isa>> {
 protected:
  void SetUp() override { limit_isa(std::get<1>(GetParam())); }
  void TearDown() override { limit_isa(detected_isa()); }
};

// Each output is a sum of two products of a rounded cosine or sine: four roundings of at most eps (|u| + |w|).
TEST_P(Rope, IsWithinTheBoundUpToAMillion) {
  for (const RopeCase& c : {RopeCase{1, 4, 64}, RopeCase{37, 3, 48}, RopeCase{20, 1, 128}, RopeCase{9, 2, 6},
                            RopeCase{5, 3, 32, 8}, RopeCase{5, 2, 80, 60, 1.25f}}) {
    const int64_t rotated = c.rotated == 0 ? c.dim : c.rotated;
    std::vector<float> x = random_normal(c.tokens * c.heads * c.dim, 1), exact = x, input = x, frequency;
    std::vector<int32_t> positions;
    for (int64_t i = 0; i < rotated / 2; ++i)
      frequency.push_back(static_cast<float>(std::pow(10000., -2. * static_cast<double>(i) / double(rotated))));
    for (int64_t t = 0; t < c.tokens; ++t) positions.push_back(static_cast<int32_t>(1'000'003 * (t + 1) / c.tokens));
    const auto args = [&](std::vector<float>& values) {
      return RopeArgs{.x = {values.data(), DType::kF32, {c.tokens, c.heads, c.dim}},
                      .positions = positions,
                      .inverse_frequency = {frequency.data(), DType::kF32, {rotated / 2}},
                      .layout = std::get<0>(GetParam()),
                      .amplitude = c.amplitude};
    };
    const Context context(2);
    rope(context, args(x));
    ref::rope(args(exact));
    for (size_t i = 0; i < x.size(); ++i) {
      const size_t head = i / size_t(c.dim) * size_t(c.dim), at = i - head, half = size_t(rotated) / 2;
      if (at >= size_t(rotated)) {
        ASSERT_EQ(x[i], input[i]);
        continue;
      }
      const size_t pair = std::get<0>(GetParam()) == RopeLayout::kHalf ? (at + half) % size_t(rotated) : at ^ 1;
      const double sum = std::abs(input[i]) + std::abs(input[head + pair]);
      ASSERT_LE(std::abs(double{x[i]} - exact[i]), 4 * kEpsF32 * c.amplitude * sum)
          << "D=" << c.dim << " element " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Layouts, Rope,
                         testing::Combine(testing::Values(RopeLayout::kHalf, RopeLayout::kInterleaved),
                                          testing::ValuesIn(supported_isas())));

TEST(RopeDoor, RefusesNonsense) {
  std::vector<float> x(16);
  const std::vector<int32_t> positions(2);
  const Context context(1);
  const View frequency{x.data(), DType::kF32, {4}};
  RopeArgs args{{x.data(), DType::kF32, {2, 1, 8}}, positions, frequency, RopeLayout::kHalf};
  EXPECT_NO_THROW(rope(context, args));
  args.x = {x.data(), DType::kF32, {1, 2, 8}};
  EXPECT_THROW(rope(context, args), Error);
  args.x = {x.data(), DType::kF32, {2, 1, 6}};
  EXPECT_THROW(rope(context, args), Error);
}

}  // namespace
}  // namespace lowkey
