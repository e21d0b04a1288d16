#include "linalg/groups.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"

namespace lowkey {
namespace {

constexpr std::array kWidths{1, 2, 3, 4, 5, 6, 8, 10, 12, 16};
constexpr double kLevels = 256;  // 2 ^ (2 bits): what 4 bits divide a variance by

// Loss of 16 fitted entries over that of ideal codes, by width: measured on keys (docs/decisions/calibration.md).
double loss_factor(size_t width) {
  constexpr std::array kFactors{2.44, 1.8, 1.6, 1.5, 1.45, 1.42, 1.4, 1.38};
  return width <= kFactors.size() ? kFactors[width - 1] : 1.36;
}

}  // namespace

double group_distortion(std::span<const double> variances) {
  const double least = std::numeric_limits<double>::min();
  double logs = 0, sum = 0, rest = 0;
  for (double v : variances) logs += std::log(std::max(v, least)), sum += v;
  for (size_t n = variances.size(); n > 0; --n) {  // coordinates that share the bits
    const auto count = static_cast<double>(n);
    const double level = std::exp((logs - std::log(kLevels)) / count), smallest = variances[n - 1];
    if (level <= smallest || n == 1) return std::min(loss_factor(variances.size()) * count * level, sum) + rest;
    logs -= std::log(std::max(smallest, least)), sum -= smallest, rest += smallest;
  }
  return 0;
}

std::vector<int> group_coordinates(std::span<const double> variances, int groups) {
  const auto dims = static_cast<int>(variances.size());
  LK_REQUIRE(groups >= 1 && groups <= dims, kInvalidArgument, "[group_coordinates] {} groups, must be 1 to {}", groups,
             dims);
  const auto columns = static_cast<size_t>(groups) + 1;
  const auto at = [columns](int i, int g) { return static_cast<size_t>(i) * columns + static_cast<size_t>(g); };
  // best[i, g]: the least that g groups of the first i coordinates lose; width[i, g]: the last of them.
  std::vector<double> best(static_cast<size_t>(dims + 1) * columns, std::numeric_limits<double>::infinity());
  std::vector<int> width(best.size(), 0);
  best[0] = 0;
  for (int i = 0; i < dims; ++i)
    for (int m : kWidths) {
      if (i + m > dims) break;
      const double loss = group_distortion(variances.subspan(static_cast<size_t>(i), static_cast<size_t>(m)));
      for (int g = 0; g < groups; ++g) {
        if (best[at(i, g)] + loss >= best[at(i + m, g + 1)]) continue;
        best[at(i + m, g + 1)] = best[at(i, g)] + loss;
        width[at(i + m, g + 1)] = m;
      }
    }
  int end = dims;
  double left_over = 0, least = std::numeric_limits<double>::infinity();
  for (int i = dims; i >= groups; --i) {
    if (best[at(i, groups)] + left_over < least) least = best[at(i, groups)] + left_over, end = i;
    left_over += variances[static_cast<size_t>(i) - 1];
  }
  std::vector<int> widths(static_cast<size_t>(groups));
  for (int g = groups; g > 0; --g) {
    widths[static_cast<size_t>(g) - 1] = width[at(end, g)];
    end -= width[at(end, g)];
  }
  return widths;
}

}  // namespace lowkey
