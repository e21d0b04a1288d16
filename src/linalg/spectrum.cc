#include "linalg/spectrum.h"

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "linalg/basis.h"

namespace lowkey {
namespace {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

std::vector<double> roots(const Matrix& products) {
  const Eigen::SelfAdjointEigenSolver<Matrix> solver(products, Eigen::EigenvaluesOnly);
  LK_REQUIRE(solver.info() == Eigen::Success, kInternal, "[spectrum] the eigenvalues were not found");
  const Eigen::VectorXd values = solver.eigenvalues().reverse().cwiseMax(0).cwiseSqrt();
  return {values.begin(), values.end()};
}

}  // namespace

std::vector<double> singular_values(View x) {
  using FloatRows = Eigen::Map<Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>;
  LK_REQUIRE(x.dtype == DType::kF32 && x.rank == 2 && x.elements() > 0, kInvalidArgument,
             "[spectrum] x {}, must be [T, C] f32", x.describe());
  const Matrix exact = FloatRows(x.f32(), x.rows(), x.columns()).cast<double>();
  LK_REQUIRE(exact.allFinite(), kInvalidArgument, "[spectrum] NaN or infinity in x {}, must be finite", x.describe());
  return roots(x.rows() < x.columns() ? Matrix(exact * exact.transpose()) : exact.transpose() * exact);
}

std::vector<double> singular_values(std::span<const double> products) {
  const auto columns = static_cast<Eigen::Index>(std::lround(std::sqrt(static_cast<double>(products.size()))));
  LK_REQUIRE(columns >= 1 && static_cast<size_t>(columns * columns) == products.size(), kInvalidArgument,
             "[spectrum] {} products, must be a square matrix", products.size());
  const Eigen::Map<const Matrix> square(products.data(), columns, columns);
  LK_REQUIRE(square.allFinite(), kInvalidArgument, "[spectrum] NaN or infinity in {} products, must be finite",
             products.size());
  return roots((square + square.transpose()) / 2);
}

namespace {

// (sum s)^2 / sum s^2 = 2^mu.
double directions(std::span<const double> s) {
  double sum = 0, squares = 0;
  for (double x : s) sum += x, squares += x * x;
  return squares > 0 ? sum * sum / squares : 1;
}

}  // namespace

double svd_entropy(std::span<const double> s) { return std::log2(directions(s)); }

int entropy_rank(std::span<const double> s) {
  constexpr double kRounding = 1e-9;  // n equal values are n directions, not n + 1
  return static_cast<int>(std::ceil(directions(s) * (1 - kRounding)));
}

int energy_rank(std::span<const double> s, double share) {
  std::vector<double> energy(s.begin(), s.end());
  for (double& x : energy) x *= x;
  return rank_at(energy, share);
}

}  // namespace lowkey
