#include "ops/choose_columns.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace lowkey {

void choose_columns(const float* q, int heads, int dim, int count, int32_t* columns, float* sums) noexcept {
  std::fill_n(sums, dim, 0.f);
  for (int h = 0; h < heads; ++h)
    for (int i = 0; i < dim; ++i) sums[i] += std::abs(q[h * dim + i]);
  std::iota(columns, columns + dim, 0);
  std::nth_element(columns, columns + count - 1, columns + dim,
                   [&](int32_t a, int32_t b) { return sums[a] != sums[b] ? sums[a] > sums[b] : a < b; });
  std::sort(columns, columns + count);
}

float column_temperature(const float* q, int dim, const int32_t* columns, int count) noexcept {
  double all = 0, chosen = 0;
  for (int i = 0; i < dim; ++i) all += std::abs(q[i]);
  for (int r = 0; r < count; ++r) chosen += std::abs(q[columns[r]]);
  return chosen > 0 ? static_cast<float>(std::sqrt(all / chosen)) : 1.f;
}

}  // namespace lowkey
