#include "linalg/truncated_svd.h"

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <random>

#include "base/error.h"
#include "linalg/orthonormal_rows.h"
#include "linalg/rank_one_steps.h"
#include "ops/matmul.h"
#include "ops/row_products.h"
#include "ops/transpose.h"

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
}

// In eight parts, which the compiler adds side by side.
double square(const float* x, int64_t n) noexcept {
  constexpr int kParts = 8;
  double part[kParts] = {};
  int64_t i = 0;
  for (; i + kParts <= n; i += kParts)
    for (int p = 0; p < kParts; ++p) part[p] += double{x[i + p]} * x[i + p];
  for (; i < n; ++i) part[0] += double{x[i]} * x[i];
  return ((part[0] + part[4]) + (part[1] + part[5])) + ((part[2] + part[6]) + (part[3] + part[7]));
}

// |x|^2. Throws kInvalidArgument where a number is not finite.
double energy_of(const Context& context, View x) {
  std::vector<double> rows(static_cast<size_t>(x.rows()));
  constexpr int64_t kGrain = 16;
  context.threads.split(x.rows(), kGrain, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) rows[static_cast<size_t>(t)] = square(x.f32_row(t), x.columns());
  });
  double sum = 0;
  for (size_t t = 0; t < rows.size(); ++t) {
    LK_REQUIRE(std::isfinite(rows[t]), kInvalidArgument, "[svd] NaN or infinity in row {}, must be finite", t);
    sum += rows[t];
  }
  return sum;
}

View transposed(const Context& context, Scratch::Frame& frame, View x) {
  const View t = frame.take_f32({x.columns(), x.rows()});
  transpose(context, {x, t});
  return t;
}

// rows [n, C]: sums of rows of x with random signs, each row of x in two of them (Clarkson and Woodruff 2013). That is
// two passes over x, where random mixtures of all its rows would be a product.
void sketch(const Context& context, View x, uint64_t seed, View rows) {
  struct Term {
    int64_t row;
    float sign;
  };
  const int64_t n = rows.rows();
  std::vector<std::vector<Term>> sums(static_cast<size_t>(n));
  std::mt19937_64 random(seed);
  uint64_t shift = 0;
  for (int64_t t = 0; t < x.rows(); ++t) {
    if (t % n == 0) shift = random();  // of a run of rows each goes to another sum
    const uint64_t draw = random(), count = static_cast<uint64_t>(n),
                   first = (static_cast<uint64_t>(t) + shift) % count;
    sums[first].push_back({t, draw & 1 ? 1.f : -1.f});
    if (n > 1) sums[(first + 1 + (draw >> 8) % (count - 1)) % count].push_back({t, draw & 2 ? 1.f : -1.f});
  }
  context.threads.dynamic(n, [&](int64_t r, int) {
    float* sum = rows.f32_row(r);
    std::fill_n(sum, x.columns(), 0.f);
    for (const Term& term : sums[static_cast<size_t>(r)]) {
      const float* row = x.f32_row(term.row);
      for (int64_t c = 0; c < x.columns(); ++c) sum[c] += term.sign * row[c];
    }
  });
}

// rows: [n, C], the first of them from `start`, the others from random sums of the rows of x: nowhere outside its span.
// Where they are as many as the rows or columns of x, they are what spans all of it.
void begin_rows(const Context& context, View x, const SvdOptions& o, View rows) {
  if (rows.rows() == x.columns()) {
    eigen(rows).setIdentity();
    return;
  }
  if (rows.rows() == x.rows()) {
    std::copy_n(x.f32(), x.elements(), rows.f32());
    return;
  }
  const int64_t given = o.start ? std::min(o.start.rows(), rows.rows()) : 0;
  std::copy_n(o.start.f32(), given * x.columns(), rows.f32());
  if (given < rows.rows()) sketch(context, x, o.seed, rows.slice_rows(given, rows.rows()));
}

// Of rows made orthonormal, at least one: signs may cancel and x have nothing of a start, but its longest row it has.
int64_t one_or_more(const Context& context, View x, View rows) {
  if (const int64_t n = orthonormal_rows(context, rows); n > 0) return n;
  std::copy_n(longest_row(x), x.columns(), rows.f32());
  return orthonormal_rows(context, rows.slice_rows(0, 1));
}

// Rows that nearly span the principal directions; gives how many.
int64_t block_rows(const Context& context, View x, const SvdOptions& o, double energy, View rows, int64_t& turns) {
  Scratch::Frame frame(context.scratch);
  begin_rows(context, x, o, rows);
  const View across = transposed(context, frame, x);
  int64_t n = one_or_more(context, x, rows);
  double held = 0;
  while (turns < o.iterations) {
    Scratch::Frame turn(context.scratch);
    const View some = rows.slice_rows(0, n), z = turn.take_f32({n, x.rows()});
    matmul(context, {some, x, z});
    if (o.tolerance > 0) {
      const double before = held;
      // The first rows are a subspace iteration of their own; the others only speed up the end.
      held = energy_of(context, z.slice_rows(0, std::min(n, o.rank)));
      if (turns > 0 && held - before <= o.tolerance * energy) break;
    }
    matmul(context, {z, across, some});
    n = one_or_more(context, x, some);
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

View f32_copy(Scratch::Frame& frame, const Matrix& m) {
  const View copy = frame.take_f32({m.rows(), m.cols()});
  eigen(copy) = m.cast<float>();
  return copy;
}

// Directions [R, C] and what follows from them.
void finish(const Context& context, View x, const Principal& p, LowRank& out) {
  const View rows = f32_view(out.directions.data(), {out.rank, x.columns()});
  const View coefficients = f32_view(out.coefficients.data(), {x.rows(), out.rank});
  eigen(rows) = p.rows.topRows(out.rank).cast<float>();
  matmul(context, {x, rows, coefficients});
  for (int64_t i = 0; i < out.rank; ++i) {
    if (eigen(coefficients).col(i).cast<double>().sum() >= 0) continue;
    eigen(rows).row(i) *= -1;
    eigen(coefficients).col(i) *= -1;
  }
}

// The same from p in terms of the rows of `span` [n, C], of which z = span x^T [n, T].
void finish_within(const Context& context, View span, View z, Principal& p, LowRank& out) {
  Eigen::VectorXd sums(z.rows());
  for (int64_t i = 0; i < z.rows(); ++i) sums[i] = eigen(z).row(i).cast<double>().sum();
  for (int64_t i = 0; i < out.rank; ++i)
    if (p.rows.row(i).dot(sums) < 0) p.rows.row(i) *= -1;
  Scratch::Frame frame(context.scratch);
  const View turn = f32_copy(frame, p.rows.topRows(out.rank));
  matmul(context,
         {turn, transposed(context, frame, span), f32_view(out.directions.data(), {out.rank, span.columns()})});
  matmul(context, {transposed(context, frame, z), turn, f32_view(out.coefficients.data(), {z.columns(), out.rank})});
}

}  // namespace

LowRank truncated_svd(const Context& context, View x, const SvdOptions& o) {
  check(x, o);
  if (o.start) energy_of(context, o.start);
  LowRank out;
  out.energy = energy_of(context, x);
  if (out.energy == 0) return out;
  const auto take = [&](const Principal& p) {
    out.rank = rank_of(p.values, o, out.energy);
    out.directions.resize(static_cast<size_t>(out.rank * x.columns()));
    out.coefficients.resize(static_cast<size_t>(x.rows() * out.rank));
    out.spectrum.assign(p.values.begin(), p.values.begin() + out.rank);
  };
  if (o.way == SvdWay::kExact) {
    const Matrix exact = eigen(x).cast<double>();
    const Principal all = principal(exact.transpose() * exact);
    take(all);
    finish(context, x, all, out);
    return out;
  }
  Scratch::Frame frame(context.scratch);
  const int64_t most = std::min(x.rows(), x.columns());
  const bool block = o.way == SvdWay::kBlock;
  const View rows = frame.take_f32({std::min(most, o.rank + (block ? o.oversample : 0)), x.columns()});
  int64_t n = 0;
  if (block) {
    n = block_rows(context, x, o, out.energy, rows, out.turns);
  } else {
    begin_rows(context, x, o, rows);
    const View residual = frame.take_f32({x.rows(), x.columns()});
    std::copy_n(x.f32(), x.elements(), residual.f32());
    const RankOneResult found =
        rank_one_steps(context, {residual, rows, o.iterations, o.tolerance, kNothing * kNothing * out.energy});
    out.turns = found.turns;
    n = orthonormal_rows(context, rows.slice_rows(0, found.rows));
  }
  LK_REQUIRE(n > 0, kInternal, "[svd] no direction of x was found");
  const View span = rows.slice_rows(0, n), z = frame.take_f32({n, x.rows()});
  matmul(context, {span, x, z});
  Matrix products(n, n);
  row_products(context, {z, products.data()});
  Principal p = principal(products);
  take(p);
  finish_within(context, span, z, p, out);
  return out;
}

}  // namespace lowkey
