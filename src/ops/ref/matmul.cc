#include "ops/matmul.h"

#include <vector>

#include "ops/quantize.h"

namespace lowkey::ref {

void matmul(const MatmulArgs& a) noexcept {
  const int64_t rows = a.x.rows(), depth = a.x.columns(), outputs = a.w.rows();
  std::vector<float> weights(static_cast<size_t>(depth));
  for (int64_t n = 0; n < outputs; ++n) {
    ref::dequantize_row(a.w.dtype, a.w.row(n), weights.data(), depth);
    for (int64_t t = 0; t < rows; ++t) {
      double sum = 0;
      for (int64_t k = 0; k < depth; ++k) sum += double{a.x.f32_row(t)[k]} * weights[k];
      a.out.f32_row(t)[n] = static_cast<float>(sum);
    }
  }
}

}  // namespace lowkey::ref
