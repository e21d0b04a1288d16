// row_products: out = x x^T, every row with every row, products and sums in f64: what the Cholesky factor or the
// eigenvectors of rows of very different lengths are taken from.
#pragma once

#include "base/context.h"
#include "base/view.h"

namespace lowkey {

struct RowProductsArgs {
  View x;       // [N, K] f32
  double* out;  // [N, N], both halves
};

// Throws kInvalidArgument. The result does not depend on the number of threads.
void row_products(const Context&, const RowProductsArgs&);

namespace ref {
void row_products(const RowProductsArgs&) noexcept;
}

}  // namespace lowkey
