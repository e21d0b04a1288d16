#include "linalg/truncated_svd.h"

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <random>

#include "base/error.h"
#include "linalg/orthonormal_rows.h"
#include "linalg/rank_one_steps.h"
#include "ops/matmul.h"

namespace lowkey {
namespace {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using FloatRows = Eigen::Map<Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>;

constexpr double kNothing = 1e-6;  // of the largest singular value

FloatRows eigen(View x) { return {x.f32(), x.rows(), x.columns()}; }

void check(View x, const SvdOptions& o) {
  LK_REQUIRE(x.dtype == DType::kF32 && x.rank == 2 && x.rows() >= 1 && x.columns() >= 1, kInvalidArgument,
             "[svd] x {}, must be [T, C] f32", x.describe());
  LK_REQUIRE(o.rank >= 1 && o.iterations >= 1 && o.oversample >= 0 && o.tolerance >= 0, kInvalidArgument,
             "[svd] rank={} iterations={} oversample={} tolerance={}, must be >= 1, >= 1, >= 0, >= 0", o.rank,
             o.iterations, o.oversample, o.tolerance);
  LK_REQUIRE(o.energy > 0 && o.energy <= 1, kInvalidArgument, "[svd] energy={}, must be above 0 and at most 1",
             o.energy);
  LK_REQUIRE(!o.start || (o.start.dtype == DType::kF32 && o.start.columns() == x.columns()), kInvalidArgument,
             "[svd] start {}, must be [N, {}] f32", o.start.describe(), x.columns());
  for (View v : {x, o.start})
    for (int64_t i = 0; i < v.elements(); ++i)
      LK_REQUIRE(std::isfinite(v.f32()[i]), kInvalidArgument, "[svd] {} in row {}, must be finite", v.f32()[i],
                 i / v.columns());
}

View transposed(Scratch::Frame& frame, View x) {
  const View t = frame.take_f32({x.columns(), x.rows()});
  eigen(t) = eigen(x).transpose();
  return t;
}

// rows: [n, C], the first of them from `start`, the others random mixtures of the rows of x: nowhere outside its span.
void begin_rows(const Context& context, View x, const SvdOptions& o, View rows) {
  const int64_t given = o.start ? std::min(o.start.rows(), rows.rows()) : 0, more = rows.rows() - given;
  std::copy_n(o.start.f32(), given * x.columns(), rows.f32());
  if (more == 0) return;
  Scratch::Frame frame(context.scratch);
  const View mix = frame.take_f32({more, x.rows()});
  std::mt19937_64 random(o.seed);
  for (int64_t i = 0; i < mix.elements(); ++i) mix.f32()[i] = random() >> 63 ? 1.f : -1.f;
  matmul(context, {mix, transposed(frame, x), rows.slice_rows(given, rows.rows())});
}

// Rows that nearly span the principal directions; gives how many.
int64_t block_rows(const Context& context, View x, const SvdOptions& o, View rows, int64_t& turns) {
  Scratch::Frame frame(context.scratch);
  begin_rows(context, x, o, rows);
  const View across = transposed(frame, x);
  int64_t n = orthonormal_rows(rows.f32(), rows.rows(), x.columns());
  double held = 0;
  while (n > 0 && turns < o.iterations) {
    Scratch::Frame turn(context.scratch);
    const View some = rows.slice_rows(0, n), z = turn.take_f32({x.rows(), n});
    matmul(context, {x, some, z});
    const double before = held;
    // The first rows are a subspace iteration of their own; the others only speed up the end.
    held = eigen(z).leftCols(std::min(n, o.rank)).cast<double>().squaredNorm();
    if (o.tolerance > 0 && turns > 0 && held - before <= o.tolerance * eigen(x).cast<double>().squaredNorm()) break;
    matmul(context, {transposed(turn, z), across, some});
    n = orthonormal_rows(rows.f32(), n, x.columns());
    ++turns;
  }
  return n;
}

// The principal directions of x within the span of orthonormal rows [n, C]; all of them where n = C.
struct Principal {
  Matrix rows;  // [n, n] in terms of the rows given, by descending eigenvalue
  Eigen::VectorXd values;
};
Principal principal(const Matrix& products) {
  const Eigen::SelfAdjointEigenSolver<Matrix> solver(products);
  LK_REQUIRE(solver.info() == Eigen::Success, kInternal, "[svd] the eigenvalues were not found");
  return {solver.eigenvectors().transpose().colwise().reverse(),
          solver.eigenvalues().reverse().cwiseMax(0).cwiseSqrt()};
}

// How many to keep.
int64_t rank_of(const Eigen::VectorXd& spectrum, const SvdOptions& o, double energy) {
  int64_t rank = 0;
  double held = 0;
  while (rank < std::min<int64_t>(o.rank, spectrum.size()) && spectrum[rank] > kNothing * spectrum[0] &&
         (rank == 0 || held < o.energy * energy)) {
    held += spectrum[rank] * spectrum[rank];
    ++rank;
  }
  return rank;
}

// `rows` x `span`: the directions, and what follows from them. span: empty for the identity.
void finish(const Context& context, View x, const Principal& p, const Matrix* span, LowRank& out) {
  const int64_t rank = out.rank;
  Matrix directions = p.rows.topRows(rank);
  if (span != nullptr) directions = (directions * *span).eval();
  out.directions.resize(static_cast<size_t>(rank * x.columns()));
  out.coefficients.resize(static_cast<size_t>(x.rows() * rank));
  const View rows = f32_view(out.directions.data(), {rank, x.columns()});
  const View coefficients = f32_view(out.coefficients.data(), {x.rows(), rank});
  eigen(rows) = directions.cast<float>();
  matmul(context, {x, rows, coefficients});
  for (int64_t i = 0; i < rank; ++i) {
    if (eigen(coefficients).col(i).cast<double>().sum() >= 0) continue;
    eigen(rows).row(i) *= -1;
    eigen(coefficients).col(i) *= -1;
  }
  out.spectrum.assign(p.values.begin(), p.values.begin() + rank);
}

}  // namespace

LowRank truncated_svd(const Context& context, View x, const SvdOptions& o) {
  check(x, o);
  LowRank out;
  out.energy = eigen(x).cast<double>().squaredNorm();
  if (out.energy == 0) return out;
  if (o.way == SvdWay::kExact) {
    const Matrix exact = eigen(x).cast<double>();
    const Principal all = principal(exact.transpose() * exact);
    out.rank = rank_of(all.values, o, out.energy);
    finish(context, x, all, nullptr, out);
    return out;
  }
  Scratch::Frame frame(context.scratch);
  const int64_t most = std::min(x.rows(), x.columns());
  const bool block = o.way == SvdWay::kBlock;
  const View rows = frame.take_f32({std::min(most, o.rank + (block ? o.oversample : 0)), x.columns()});
  int64_t n = 0;
  if (block) {
    n = block_rows(context, x, o, rows, out.turns);
  } else {
    begin_rows(context, x, o, rows);
    const View residual = frame.take_f32({x.rows(), x.columns()});
    std::copy_n(x.f32(), x.elements(), residual.f32());
    const RankOneResult found =
        rank_one_steps(context, {residual, rows, o.iterations, o.tolerance, kNothing * kNothing * out.energy});
    out.turns = found.turns;
    n = orthonormal_rows(rows.f32(), found.rows, x.columns());
  }
  const View some = rows.slice_rows(0, n), z = frame.take_f32({x.rows(), n});
  matmul(context, {x, some, z});
  const Matrix within = eigen(z).cast<double>(), span = eigen(some).cast<double>();
  const Principal p = principal(within.transpose() * within);
  out.rank = rank_of(p.values, o, out.energy);
  finish(context, x, p, &span, out);
  return out;
}

}  // namespace lowkey
