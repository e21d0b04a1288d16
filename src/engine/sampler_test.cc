#include "engine/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "base/error.h"

namespace lowkey {
namespace {

// How often each token comes out of 20,000 draws from softmax(log p).
std::map<int32_t, double> frequencies(SamplerOptions options, const std::vector<float>& probabilities) {
  Sampler sampler(options);
  std::map<int32_t, double> result;
  constexpr int kDraws = 20000;
  for (int i = 0; i < kDraws; ++i) {
    std::vector<float> logits;
    for (float p : probabilities) logits.push_back(std::log(p));
    result[sampler.sample(logits, {})] += 1.0 / kDraws;
  }
  return result;
}

// Four standard errors of a frequency over 20,000 draws, at its widest.
constexpr double kTolerance = 4 * 0.5 / 141.0;

TEST(Sampler, GreedyTakesTheBestAndTheLowerIdOfTies) {
  Sampler sampler({});
  std::vector<float> logits{1, 3, 3, 2};
  EXPECT_EQ(sampler.sample(logits, {}), 1);
}

TEST(Sampler, DrawsInProportion) {
  const auto f = frequencies({.temperature = 1}, {0.1f, 0.2f, 0.7f});
  EXPECT_NEAR(f.at(0), 0.1, kTolerance);
  EXPECT_NEAR(f.at(1), 0.2, kTolerance);
  EXPECT_NEAR(f.at(2), 0.7, kTolerance);
}

TEST(Sampler, TemperatureSharpens) {
  const auto f = frequencies({.temperature = 0.5f}, {0.2f, 0.8f});  // squares: 0.04 to 0.64
  EXPECT_NEAR(f.at(1), 0.64 / 0.68, kTolerance);
}

TEST(Sampler, TopKTopPAndMinPCut) {
  const std::vector<float> p{0.05f, 0.5f, 0.15f, 0.3f};
  EXPECT_EQ(frequencies({.temperature = 1, .top_k = 2}, p).size(), 2u);
  EXPECT_EQ(frequencies({.temperature = 1, .top_p = 0.79f}, p).size(), 2u);  // 0.5 + 0.3 reach 0.79
  EXPECT_EQ(frequencies({.temperature = 1, .top_p = 0.85f}, p).size(), 3u);
  EXPECT_EQ(frequencies({.temperature = 1, .min_p = 0.5f}, p).size(), 2u);  // 0.3 >= 0.25
  EXPECT_EQ(frequencies({.temperature = 1, .top_p = 1e-6f}, p).size(), 1u);
}

TEST(Sampler, RepetitionPenaltyWorksOnBothSigns) {
  Sampler sampler({.repetition_penalty = 2});
  std::vector<float> logits{4, 3, -1};
  const std::vector<int32_t> recent{0, 2, 0};
  EXPECT_EQ(sampler.sample(logits, recent), 1);
  EXPECT_EQ(logits, (std::vector<float>{2, 3, -2}));  // once for a token seen twice
}

TEST(Sampler, TheWindowForgets) {
  Sampler sampler({.repetition_penalty = 2, .repetition_window = 1});
  std::vector<float> logits{4, 3, 1};
  const std::vector<int32_t> recent{0, 2};
  EXPECT_EQ(sampler.sample(logits, recent), 0);
}

TEST(Sampler, SameSeedSameTokens) {
  for (uint64_t seed : {1, 2}) {
    Sampler a({.temperature = 1, .seed = seed}), b({.temperature = 1, .seed = seed});
    for (int i = 0; i < 100; ++i) {
      std::vector<float> x(50, 0.0f), y(50, 0.0f);
      ASSERT_EQ(a.sample(x, {}), b.sample(y, {}));
    }
  }
}

TEST(Sampler, RefusesOptionsOutOfRange) {
  for (const SamplerOptions& bad :
       {SamplerOptions{.temperature = -1}, SamplerOptions{.temperature = NAN}, SamplerOptions{.top_k = -1},
        SamplerOptions{.top_p = 0}, SamplerOptions{.top_p = 1.5f}, SamplerOptions{.min_p = 2},
        SamplerOptions{.repetition_penalty = 0}, SamplerOptions{.repetition_window = -1}})
    EXPECT_THROW(Sampler{bad}, Error);
}

}  // namespace
}  // namespace lowkey
