#include "lab/statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "base/error.h"

namespace lowkey {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

}  // namespace

double student_t(int64_t freedom) noexcept {
  constexpr double kTable[] = {12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
                               2.201,  2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086};
  constexpr auto kKnown = static_cast<int64_t>(std::size(kTable));
  if (freedom <= kKnown) return kTable[freedom - 1];
  // The normal distribution's point and the first two terms in 1 / freedom (Abramowitz & Stegun 26.7.5).
  const double n = static_cast<double>(freedom);
  return 1.95996 + 2.37227 / n + 2.8225 / (n * n);
}

Spread spread(std::span<const double> observations) {
  LK_REQUIRE(!observations.empty(), kInvalidArgument, "[statistics] no observations");
  std::vector<double> sorted(observations.begin(), observations.end());
  std::sort(sorted.begin(), sorted.end());
  return {.median = sorted[sorted.size() / 2], .least = sorted.front(), .most = sorted.back()};
}

Estimate estimate(std::span<const double> x) {
  LK_REQUIRE(!x.empty(), kInvalidArgument, "[statistics] no observations");
  const auto count = static_cast<double>(x.size());
  Estimate e{.mean = std::accumulate(x.begin(), x.end(), 0.0) / count};
  if (x.size() == 1) {
    return {.mean = e.mean, .error = std::nan(""), .low = -kInfinity, .high = kInfinity};
  }
  double squares = 0;
  for (double value : x) squares += (value - e.mean) * (value - e.mean);
  e.error = std::sqrt(squares / (count - 1) / count);
  const double half = student_t(static_cast<int64_t>(x.size()) - 1) * e.error;
  e.low = e.mean - half, e.high = e.mean + half;
  return e;
}

Interval bootstrap(std::span<const double> x, std::span<const double> weights) {
  constexpr size_t kDraws = 10000;
  constexpr uint64_t kSeed = 1;
  LK_REQUIRE(!x.empty(), kInvalidArgument, "[bootstrap] no observations");
  LK_REQUIRE(weights.empty() || weights.size() == x.size(), kInvalidArgument,
             "[bootstrap] {} weights for {} observations, must be as many", weights.size(), x.size());
  if (x.size() == 1) return {.low = -kInfinity, .high = kInfinity};
  std::mt19937_64 random(kSeed);  // its own output, which is the same on every platform
  std::vector<double> means(kDraws);
  for (double& mean : means) {
    double sum = 0, weight = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      const size_t drawn = random() % x.size();
      const double w = weights.empty() ? 1 : weights[drawn];
      sum += w * x[drawn], weight += w;
    }
    mean = sum / weight;
  }
  std::sort(means.begin(), means.end());
  const auto n = static_cast<double>(x.size());
  const double z = student_t(static_cast<int64_t>(x.size()) - 1) * std::sqrt(n / (n - 1));
  const double tail = std::erfc(z / std::sqrt(2.0)) / 2;
  const auto below = static_cast<size_t>(tail * static_cast<double>(kDraws));
  return {.low = means[below], .high = means[kDraws - 1 - below]};
}

}  // namespace lowkey
