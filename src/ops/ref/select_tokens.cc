#include "ops/select_tokens.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace lowkey::ref {
namespace {

// How many of `order` (ids between sink and recent, best first) are needed.
int64_t needed(const float* keys, int64_t length, const SelectBudget& b, const std::vector<int32_t>& order) noexcept {
  const int64_t between = static_cast<int64_t>(order.size()), most = std::min(b.most, between);
  if (b.share >= 1) return most;
  const double max = *std::max_element(keys, keys + length);
  double total = 0, taken = 0;
  for (int64_t t = 0; t < length; ++t) {
    const double weight = std::exp2(keys[t] - max);
    total += weight;
    if (t < b.sink || t >= length - b.recent) taken += weight;
  }
  int64_t count = 0;
  for (; count < most && (count < b.least || taken < b.share * total); ++count)
    taken += std::exp2(keys[order[static_cast<size_t>(count)]] - max);
  return count;
}

}  // namespace

void select_tokens(const SelectTokensArgs& a) noexcept {
  for (size_t n = 0; n < a.lengths.size(); ++n) {
    const float* keys = a.keys.f32_row(static_cast<int64_t>(n));
    const SelectBudget& b = a.budgets[n];
    const int64_t length = a.lengths[n], between = std::max<int64_t>(0, length - b.sink - b.recent);
    std::vector<int32_t> order(static_cast<size_t>(between));
    std::iota(order.begin(), order.end(), static_cast<int32_t>(b.sink));
    std::stable_sort(order.begin(), order.end(), [&](int32_t x, int32_t y) { return keys[x] > keys[y]; });
    const int64_t count = needed(keys, length, b, order);
    if (count == between) {
      a.lists[n] = {nullptr, length};
      continue;
    }
    int32_t* end = a.ids[n];
    for (int32_t t = 0; t < b.sink; ++t) *end++ = t;
    std::sort(order.begin(), order.begin() + count);
    end = std::copy_n(order.begin(), count, end);
    for (int64_t t = length - b.recent; t < length; ++t) *end++ = static_cast<int32_t>(t);
    a.lists[n] = {a.ids[n], end - a.ids[n]};
  }
}

}  // namespace lowkey::ref
