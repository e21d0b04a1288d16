#include "linalg/basis.h"

#include <Eigen/Eigenvalues>
#include <Eigen/SVD>
#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"

namespace lowkey {
namespace {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Vector = Eigen::VectorXd;

constexpr double kRidge = 1e-6;  // of the mean variance

Matrix checked(std::span<const double> values, const char* op) {
  const auto dims = static_cast<Eigen::Index>(std::lround(std::sqrt(static_cast<double>(values.size()))));
  LK_REQUIRE(dims >= 1 && static_cast<size_t>(dims * dims) == values.size(), kInvalidArgument,
             "[{}] {} numbers, must be a square matrix", op, values.size());
  for (double x : values) LK_REQUIRE(std::isfinite(x), kInvalidArgument, "[{}] {} in a moment, must be finite", op, x);
  return Eigen::Map<const Matrix>(values.data(), dims, dims);
}

std::vector<double> flat(const Matrix& m) { return {m.data(), m.data() + m.size()}; }

struct Eigenpairs {
  Matrix rows;    // eigenvectors as rows, by descending eigenvalue
  Vector values;  // >= 0
};

Eigenpairs eigenpairs(const Matrix& symmetric) {
  const Eigen::SelfAdjointEigenSolver<Matrix> solver((symmetric + symmetric.transpose()) / 2);
  LK_REQUIRE(solver.info() == Eigen::Success, kInternal, "[basis] the eigenvalues were not found");
  return {solver.eigenvectors().transpose().colwise().reverse(), solver.eigenvalues().reverse().cwiseMax(0)};
}

// The same result on every machine: eigenvectors are known up to their sign.
void fix_signs(Matrix& rows, Matrix* partner) {
  for (Eigen::Index i = 0; i < rows.rows(); ++i) {
    Eigen::Index largest = 0;
    rows.row(i).cwiseAbs().maxCoeff(&largest);
    if (rows(i, largest) >= 0) continue;
    rows.row(i) *= -1;
    if (partner != nullptr) partner->row(i) *= -1;
  }
}

// Square root of a covariance with a ridge, and its inverse.
struct Roots {
  explicit Roots(const Matrix& covariance) {
    const auto [rows, values] = eigenpairs(covariance);
    const double mean = std::max(values.mean(), std::numeric_limits<double>::min());
    const Vector root = (values.array() + kRidge * mean).sqrt();
    square = rows.transpose() * root.asDiagonal() * rows;
    inverse = rows.transpose() * root.cwiseInverse().asDiagonal() * rows;
  }
  Matrix square, inverse;
};

}  // namespace

Basis pca(std::span<const double> covariance) {
  auto [rows, values] = eigenpairs(checked(covariance, "pca"));
  fix_signs(rows, nullptr);
  return {flat(rows), flat(rows), {values.begin(), values.end()}};
}

Basis balanced_basis(std::span<const double> key_covariance, std::span<const double> query_moment) {
  LK_REQUIRE(key_covariance.size() == query_moment.size(), kInvalidArgument,
             "[balanced_basis] moments of {} and {} numbers, must be alike", key_covariance.size(),
             query_moment.size());
  const Roots k(checked(key_covariance, "balanced_basis")), q(checked(query_moment, "balanced_basis"));
  const Eigen::JacobiSVD<Matrix, Eigen::NoQRPreconditioner> svd(q.square * k.square,
                                                                Eigen::ComputeFullU | Eigen::ComputeFullV);
  const Vector root = svd.singularValues().cwiseSqrt();
  Matrix key = root.asDiagonal() * svd.matrixV().transpose() * k.inverse;
  Matrix query = root.asDiagonal() * svd.matrixU().transpose() * q.inverse;
  fix_signs(key, &query);
  return {flat(key), flat(query), {svd.singularValues().begin(), svd.singularValues().end()}};
}

Basis weighted_basis(std::span<const double> key_covariance, std::span<const double> query_moment, double power) {
  constexpr double kFloor = 1e-4;  // of the mean moment
  LK_REQUIRE(key_covariance.size() == query_moment.size(), kInvalidArgument,
             "[weighted_basis] moments of {} and {} numbers, must be alike", key_covariance.size(),
             query_moment.size());
  const auto [rows, values] = eigenpairs(checked(query_moment, "weighted_basis"));
  const double floor = std::max(kFloor * values.mean(), std::numeric_limits<double>::min());
  const Vector powers = values.cwiseMax(floor).array().pow(power);
  const Matrix metric = rows.transpose() * powers.asDiagonal() * rows;
  const Matrix inverse = rows.transpose() * powers.cwiseInverse().asDiagonal() * rows;
  const auto [directions, spectrum] = eigenpairs(metric * checked(key_covariance, "weighted_basis") * metric);
  Matrix key = directions * metric, query = directions * inverse;
  fix_signs(key, &query);
  return {flat(key), flat(query), {spectrum.begin(), spectrum.end()}};
}

Basis mixed_basis(std::span<const double> covariance, std::span<const double> other) {
  LK_REQUIRE(covariance.size() == other.size(), kInvalidArgument,
             "[mixed_basis] covariances of {} and {} numbers, must be alike", covariance.size(), other.size());
  const Matrix a = checked(covariance, "mixed_basis"), b = checked(other, "mixed_basis");
  const auto unit = [](const Matrix& m) -> Matrix {
    return m / std::max(m.trace(), std::numeric_limits<double>::min());
  };
  const auto [rows, values] = eigenpairs(unit(a) + unit(b));
  const Vector variances = (rows * a).cwiseProduct(rows).rowwise().sum().cwiseMax(0);
  std::vector<Eigen::Index> order(static_cast<size_t>(rows.rows()));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](auto i, auto j) { return variances[i] > variances[j]; });
  Matrix sorted = rows(order, Eigen::all);
  fix_signs(sorted, nullptr);
  const Vector spectrum = variances(order);
  return {flat(sorted), flat(sorted), {spectrum.begin(), spectrum.end()}};
}

int rank_at(std::span<const double> spectrum, double share) {
  const double wanted = share * std::accumulate(spectrum.begin(), spectrum.end(), 0.0);
  double sum = 0;
  for (size_t i = 0; i < spectrum.size(); ++i) {
    sum += spectrum[i];
    if (sum >= wanted) return static_cast<int>(i) + 1;
  }
  return static_cast<int>(spectrum.size());
}

std::vector<double> diagonal_moment(std::span<const double> rows, std::span<const double> moment) {
  const Matrix r = checked(rows, "diagonal_moment"), m = checked(moment, "diagonal_moment");
  LK_REQUIRE(r.rows() == m.rows(), kInvalidArgument, "[diagonal_moment] {} rows and a moment of {}, must be alike",
             r.rows(), m.rows());
  const Vector diagonal = (r * m).cwiseProduct(r).rowwise().sum();
  return {diagonal.begin(), diagonal.end()};
}

}  // namespace lowkey
