#include "lab/key_spectrum.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace lowkey {
namespace {

double sum(std::span<const float> x) noexcept { return std::accumulate(x.begin(), x.end(), 0.0); }

// nats; of zeros that of equal variances
double entropy(std::span<const float> variances) noexcept {
  const double all = sum(variances);
  if (!(all > 0)) return std::log(static_cast<double>(variances.size()));
  double nats = 0;
  for (double variance : variances)
    if (variance > 0) nats -= variance / all * std::log(variance / all);
  return nats;
}

}  // namespace

double entropy_share(std::span<const float> variances) noexcept {
  return variances.size() < 2 ? 1 : entropy(variances) / std::log(static_cast<double>(variances.size()));
}

double effective_rank(std::span<const float> variances) noexcept { return std::exp(entropy(variances)); }

double share_held(std::span<const float> variances, int n) noexcept {
  const double all = sum(variances);
  return all > 0 ? sum(variances.first(std::min(variances.size(), static_cast<size_t>(n)))) / all : 1;
}

}  // namespace lowkey
