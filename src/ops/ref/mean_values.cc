#include "ops/mean_values.h"

#include "ops/ref/kv_value.h"

namespace lowkey::ref {

void mean_values(const MeanValuesArgs& a) noexcept {
  for (int64_t row = 0; row < a.means.rows(); ++row) {
    const int64_t kv_heads = a.means.dim(1), dim = a.means.dim(2);
    const KvPages& kv = a.kv[static_cast<size_t>(row / kv_heads)];
    for (int64_t i = 0; i < dim; ++i) {
      double sum = 0;
      for (int64_t t = 0; t < kv.length; ++t)
        sum += kv_value(kv.dtype, kv.token(static_cast<int>(row % kv_heads), t), dim + i);
      a.means.f32_row(row)[i] = static_cast<float>(sum / static_cast<double>(kv.length));
    }
  }
}

}  // namespace lowkey::ref
