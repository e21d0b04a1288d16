// CholeskyQR: rows made orthonormal through the Cholesky factor of their products, which is found in f64.
#pragma once

#include "base/context.h"
#include "base/view.h"

namespace lowkey {

// rows: [N, C] f32, replaced by orthonormal rows that span the same; those that depend on rows before them (to 1e-5 of
// their length) are dropped. Gives how many are left, the first so many of `rows`. All numbers must be finite.
int64_t orthonormal_rows(const Context&, View rows);

}  // namespace lowkey
