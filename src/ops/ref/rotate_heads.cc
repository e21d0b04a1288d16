#include "ops/rotate_heads.h"

#include <vector>

namespace lowkey::ref {

void rotate_heads(const RotateHeadsArgs& a) noexcept {
  const int64_t heads = a.x.dim(1), dim = a.x.dim(2), group = heads / a.matrix.dim(0);
  std::vector<float> in(static_cast<size_t>(dim));
  for (int64_t row = 0; row < a.x.rows(); ++row) {
    float* x = a.x.f32_row(row);
    const float* matrix = a.matrix.f32() + row % heads / group * dim * dim;
    in.assign(x, x + dim);
    for (int64_t j = 0; j < dim; ++j) {
      double sum = 0;
      for (int64_t i = 0; i < dim; ++i) sum += double{matrix[j * dim + i]} * in[static_cast<size_t>(i)];
      x[j] = static_cast<float>(sum);
    }
  }
}

}  // namespace lowkey::ref
