// CholeskyQR: rows made orthonormal through the Cholesky factor of their products, in f64.
#pragma once

#include <cstdint>

namespace lowkey {

// rows: [n, C] f32, replaced by orthonormal rows that span the same; those that depend on rows before them (to 1e-5 of
// their length) are dropped. Gives how many are left, the first so many of `rows`. All numbers must be finite.
int64_t orthonormal_rows(float* rows, int64_t n, int64_t columns);

}  // namespace lowkey
