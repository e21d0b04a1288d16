#include "ops/row_products.h"

namespace lowkey::ref {

void row_products(const RowProductsArgs& a) noexcept {
  const int64_t n = a.x.rows();
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0;
      for (int64_t k = 0; k < a.x.columns(); ++k) sum += double{a.x.f32_row(i)[k]} * a.x.f32_row(j)[k];
      a.out[i * n + j] = sum;
    }
  }
}

}  // namespace lowkey::ref
