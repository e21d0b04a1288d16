#include "linalg/spectrum.h"

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "linalg/basis.h"

namespace lowkey {

std::vector<double> singular_values(View x) {
  using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  using FloatRows = Eigen::Map<Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>;
  LK_REQUIRE(x.dtype == DType::kF32 && x.rank == 2 && x.elements() > 0, kInvalidArgument,
             "[spectrum] x {}, must be [T, C] f32", x.describe());
  const Matrix exact = FloatRows(x.f32(), x.rows(), x.columns()).cast<double>();
  LK_REQUIRE(exact.allFinite(), kInvalidArgument, "[spectrum] NaN or infinity in x {}, must be finite", x.describe());
  const Matrix products = x.rows() < x.columns() ? Matrix(exact * exact.transpose()) : exact.transpose() * exact;
  const Eigen::SelfAdjointEigenSolver<Matrix> solver(products, Eigen::EigenvaluesOnly);
  LK_REQUIRE(solver.info() == Eigen::Success, kInternal, "[spectrum] the eigenvalues were not found");
  const Eigen::VectorXd values = solver.eigenvalues().reverse().cwiseMax(0).cwiseSqrt();
  return {values.begin(), values.end()};
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
