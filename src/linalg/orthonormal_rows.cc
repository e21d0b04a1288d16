#include "linalg/orthonormal_rows.h"

#include <Eigen/Dense>
#include <algorithm>
#include <vector>

#include "ops/matmul.h"
#include "ops/row_products.h"
#include "ops/transpose.h"

namespace lowkey {
namespace {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using FloatRows = Eigen::Map<Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>;

constexpr double kDependent = 1e-5;  // of a row's length: what f32 rows still say of a new direction
constexpr double kEasy = 0.1;        // of its square: rows no closer to those before are orthonormal in one pass

struct Factor {
  Matrix lower;                    // the leading [kept, kept] belongs to rows `kept`
  std::vector<Eigen::Index> kept;  // rows that bring something new
  double least = 1;                // of what a row has beside those before it, as a share of its square
};

// The Cholesky factor of products (only its lower half is read), row by row.
Factor cholesky(const Matrix& products) {
  const Eigen::Index n = products.rows();
  Factor f{.lower = Matrix::Zero(n, n), .kept = {}};
  for (Eigen::Index i = 0; i < n; ++i) {
    const auto size = static_cast<Eigen::Index>(f.kept.size());
    for (Eigen::Index j = 0; j < size; ++j)
      f.lower(size, j) =
          (products(i, f.kept[static_cast<size_t>(j)]) - f.lower.row(size).head(j).dot(f.lower.row(j).head(j))) /
          f.lower(j, j);
    const double left = products(i, i) - f.lower.row(size).head(size).squaredNorm();
    if (!(left > kDependent * kDependent * products(i, i)) || products(i, i) == 0) continue;
    f.least = std::min(f.least, left / products(i, i));
    f.lower(size, size) = std::sqrt(left);
    f.kept.push_back(i);
  }
  return f;
}

}  // namespace

int64_t orthonormal_rows(const Context& context, View rows) {
  int64_t n = rows.rows();
  for (int pass = 0; pass < 2 && n > 0; ++pass) {  // the first leaves what the condition of the rows amplifies
    Matrix products(n, n);
    row_products(context, {rows.slice_rows(0, n), products.data()});
    const Factor f = cholesky(products);
    n = static_cast<int64_t>(f.kept.size());
    if (n == 0) return 0;
    for (int64_t i = 0; i < n; ++i)
      std::copy_n(rows.f32_row(f.kept[static_cast<size_t>(i)]), rows.columns(), rows.f32_row(i));
    Scratch::Frame frame(context.scratch);
    const View inverse = frame.take_f32({n, n}), across = frame.take_f32({rows.columns(), n});
    FloatRows(inverse.f32(), n, n) =
        f.lower.topLeftCorner(n, n).triangularView<Eigen::Lower>().solve(Matrix::Identity(n, n)).template cast<float>();
    transpose(context, {rows.slice_rows(0, n), across});
    matmul(context, {inverse, across, rows.slice_rows(0, n)});
    if (f.least > kEasy) break;
  }
  return n;
}

}  // namespace lowkey
