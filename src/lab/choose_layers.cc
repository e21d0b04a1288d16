#include "lab/choose_layers.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"

namespace lowkey {
namespace {

constexpr int kSteps = 4096;

std::vector<int> least_lossy(std::span<const LayerChoice> choices, size_t each) {
  std::vector<int> chosen;
  for (size_t at = 0; at < choices.size(); at += each) {
    const auto layer = choices.subspan(at, each);
    const auto worse = [](const LayerChoice& a, const LayerChoice& b) {
      return a.loss != b.loss ? a.loss < b.loss : a.cost < b.cost;
    };
    chosen.push_back(static_cast<int>(std::min_element(layer.begin(), layer.end(), worse) - layer.begin()));
  }
  return chosen;
}

}  // namespace

std::vector<int> choose_layers(std::span<const LayerChoice> choices, int layers, double budget) {
  LK_REQUIRE(layers >= 1 && !choices.empty() && choices.size() % static_cast<size_t>(layers) == 0, kInvalidArgument,
             "[choose_layers] {} choices for {} layers, must be as many for each", choices.size(), layers);
  LK_REQUIRE(budget >= 0, kInvalidArgument, "[choose_layers] budget = {}, must be >= 0", budget);
  const size_t each = choices.size() / static_cast<size_t>(layers), width = kSteps + 1;
  constexpr double kNever = std::numeric_limits<double>::infinity();
  // cost[s]: the least of the layers so far with a loss of s steps at most; taken: [L, width].
  std::vector<double> cost(width, 0.0), next(width);
  std::vector<int> taken(static_cast<size_t>(layers) * width, -1);
  for (size_t l = 0; l < static_cast<size_t>(layers); ++l) {
    std::fill(next.begin(), next.end(), kNever);
    for (size_t n = 0; n < each; ++n) {
      const LayerChoice& c = choices[l * each + n];
      const double steps = c.loss <= 0 ? 0 : std::ceil(c.loss / budget * kSteps);  // infinite with no budget
      if (!(steps <= kSteps)) continue;
      for (size_t s = static_cast<size_t>(steps); s < width; ++s) {
        const double whole = cost[s - static_cast<size_t>(steps)] + c.cost;
        if (whole < next[s]) next[s] = whole, taken[l * width + s] = static_cast<int>(n);
      }
    }
    cost.swap(next);
  }
  if (cost[kSteps] == kNever) return least_lossy(choices, each);
  std::vector<int> chosen(static_cast<size_t>(layers));
  size_t s = kSteps;
  for (size_t l = static_cast<size_t>(layers); l-- > 0;) {
    chosen[l] = taken[l * width + s];
    const double loss = choices[l * each + static_cast<size_t>(chosen[l])].loss;
    if (loss > 0) s -= static_cast<size_t>(std::ceil(loss / budget * kSteps));
  }
  return chosen;
}

}  // namespace lowkey
