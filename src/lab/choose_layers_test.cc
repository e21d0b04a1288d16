#include "lab/choose_layers.h"

#include <gtest/gtest.h>

#include <random>

#include "base/error.h"

namespace lowkey {
namespace {

struct Sum {
  double cost = 0, loss = 0;
};
Sum sum_of(const std::vector<LayerChoice>& choices, const std::vector<int>& chosen) {
  Sum sum;
  const size_t each = choices.size() / chosen.size();
  for (size_t l = 0; l < chosen.size(); ++l) {
    const LayerChoice& c = choices[l * each + static_cast<size_t>(chosen[l])];
    sum.cost += c.cost, sum.loss += c.loss;
  }
  return sum;
}

// The least cost within the budget, all combinations tried.
double least_cost(const std::vector<LayerChoice>& choices, size_t layers, double budget) {
  const size_t each = choices.size() / layers;
  size_t combinations = 1;
  for (size_t l = 0; l < layers; ++l) combinations *= each;
  double least = 1e300;
  for (size_t i = 0; i < combinations; ++i) {
    std::vector<int> chosen;
    for (size_t l = 0, rest = i; l < layers; ++l, rest /= each) chosen.push_back(static_cast<int>(rest % each));
    const Sum sum = sum_of(choices, chosen);
    if (sum.loss <= budget) least = std::min(least, sum.cost);
  }
  return least;
}

TEST(ChooseLayers, FindsWhatTryingEverythingFinds) {
  std::mt19937 random(7);
  std::uniform_real_distribution<double> number(0.0, 1.0);
  for (int round = 0; round < 50; ++round) {
    std::vector<LayerChoice> choices(4 * 5);
    for (size_t i = 0; i < choices.size(); ++i)
      choices[i] = i % 5 == 0 ? LayerChoice{2, 0} : LayerChoice{number(random), number(random)};
    const double budget = 2 * number(random) + 0.01;
    const Sum found = sum_of(choices, choose_layers(choices, 4, budget));
    EXPECT_LE(found.loss, budget * (1 + 1e-12));
    // Rounding up may pass over what just fits, but nothing that leaves four steps.
    EXPECT_LE(found.cost, least_cost(choices, 4, budget * (1 - 4.0 / 4096)) + 1e-12);
    EXPECT_GE(found.cost, least_cost(choices, 4, budget) - 1e-12);
  }
}

TEST(ChooseLayers, WithoutABudgetLosesNothing) {
  const std::vector<LayerChoice> choices{{5, 0}, {1, 0.1}, {4, 0}, {2, 0.2}};
  EXPECT_EQ(choose_layers(choices, 2, 0), (std::vector<int>{0, 0}));
}

TEST(ChooseLayers, TakesTheLeastLossyWhenNothingFits) {
  const std::vector<LayerChoice> choices{{5, 3}, {1, 7}, {4, 9}, {2, 2}};
  EXPECT_EQ(choose_layers(choices, 2, 1), (std::vector<int>{0, 1}));
}

TEST(ChooseLayers, RefusesNonsense) {
  const std::vector<LayerChoice> choices(3);
  EXPECT_THROW(choose_layers(choices, 2, 1), Error);
  EXPECT_THROW(choose_layers(choices, 0, 1), Error);
  EXPECT_THROW(choose_layers(choices, 3, -1), Error);
}

}  // namespace
}  // namespace lowkey
