#include "linalg/orthonormal_rows.h"

#include <Eigen/Dense>
#include <vector>

namespace lowkey {
namespace {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using FloatRows = Eigen::Map<Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>;

constexpr double kDependent = 1e-5;  // of a row's length: what f32 rows still say of a new direction

// The Cholesky factor of products (only its lower half is read), row by row. Rows that bring nothing new are left out;
// the others are listed in `kept`, and the leading [kept, kept] of the result belongs to them.
Matrix cholesky(const Matrix& products, std::vector<Eigen::Index>& kept) {
  const Eigen::Index n = products.rows();
  Matrix lower = Matrix::Zero(n, n);
  kept.clear();
  for (Eigen::Index i = 0; i < n; ++i) {
    const auto size = static_cast<Eigen::Index>(kept.size());
    for (Eigen::Index j = 0; j < size; ++j)
      lower(size, j) =
          (products(i, kept[static_cast<size_t>(j)]) - lower.row(size).head(j).dot(lower.row(j).head(j))) / lower(j, j);
    const double left = products(i, i) - lower.row(size).head(size).squaredNorm();
    if (!(left > kDependent * kDependent * products(i, i)) || products(i, i) == 0) continue;
    lower(size, size) = std::sqrt(left);
    kept.push_back(i);
  }
  return lower;
}

}  // namespace

int64_t orthonormal_rows(float* rows, int64_t n, int64_t columns) {
  std::vector<Eigen::Index> kept;
  for (int pass = 0; pass < 2; ++pass) {  // the first leaves what the condition of the rows amplifies
    const Matrix exact = FloatRows(rows, n, columns).cast<double>();
    const Matrix lower = cholesky(exact * exact.transpose(), kept);
    n = static_cast<int64_t>(kept.size());
    const Matrix some = exact(kept, Eigen::all);
    FloatRows(rows, n, columns) =
        lower.topLeftCorner(n, n).triangularView<Eigen::Lower>().solve(some).template cast<float>();
  }
  return n;
}

}  // namespace lowkey
