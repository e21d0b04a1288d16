#include "linalg/truncated_svd.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include "base/error.h"
#include "linalg/orthonormal_rows.h"
#include "linalg/spectrum.h"

namespace lowkey {
namespace {

constexpr double kEps = std::numeric_limits<float>::epsilon();
constexpr int64_t kRows = 150, kColumns = 96;
const SvdWay kWays[] = {SvdWay::kExact, SvdWay::kAlternating, SvdWay::kBlock};
using Floats = std::vector<float>;

View view(Floats& x, int64_t columns) {
  return f32_view(x.data(), {static_cast<int64_t>(x.size()) / columns, columns});
}

Floats noise(int64_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  Floats x(static_cast<size_t>(count));
  for (float& value : x) value = normal(random);
  return x;
}

// [kRows, kColumns] with these singular values.
Floats with_spectrum(const std::vector<double>& s, unsigned seed = 1) {
  const auto n = static_cast<int64_t>(s.size());
  Floats u = noise(n * kRows, seed), v = noise(n * kColumns, seed + 1), x(kRows * kColumns, 0.f);
  EXPECT_EQ(orthonormal_rows(Context(1), view(u, kRows)), n);
  EXPECT_EQ(orthonormal_rows(Context(1), view(v, kColumns)), n);
  for (size_t i = 0; i < x.size(); ++i) {
    const auto t = static_cast<int64_t>(i) / kColumns, c = static_cast<int64_t>(i) % kColumns;
    double sum = 0;
    for (int64_t j = 0; j < n; ++j)
      sum +=
          s[static_cast<size_t>(j)] * u[static_cast<size_t>(j * kRows + t)] * v[static_cast<size_t>(j * kColumns + c)];
    x[i] = static_cast<float>(sum);
  }
  return x;
}

std::vector<double> geometric(int n, double ratio) {
  std::vector<double> s;
  for (int i = 0; i < n; ++i) s.push_back(10 * std::pow(ratio, i));
  return s;
}

// The largest |rows rows^T - 1|.
double from_orthonormal(const Floats& rows, int64_t n) {
  const int64_t columns = n == 0 ? 1 : static_cast<int64_t>(rows.size()) / n;
  double worst = 0;
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      double dot = 0;
      for (int64_t c = 0; c < columns; ++c)
        dot += double{rows[static_cast<size_t>(i * columns + c)]} * rows[static_cast<size_t>(j * columns + c)];
      worst = std::max(worst, std::abs(dot - (i == j ? 1 : 0)));
    }
  }
  return worst;
}

// |x - coefficients directions|
double distance(const Floats& x, const LowRank& f) {
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const auto t = static_cast<int64_t>(i) / kColumns, c = static_cast<int64_t>(i) % kColumns;
    double value = 0;
    for (int64_t j = 0; j < f.rank; ++j)
      value += double{f.coefficients[static_cast<size_t>(t * f.rank + j)]} *
               f.directions[static_cast<size_t>(j * kColumns + c)];
    sum += (x[i] - value) * (x[i] - value);
  }
  return std::sqrt(sum);
}

double tail(const std::vector<double>& s, int64_t rank) {
  double sum = 0;
  for (size_t j = static_cast<size_t>(rank); j < s.size(); ++j) sum += s[j] * s[j];
  return std::sqrt(sum);
}

TEST(OrthonormalRows, KeepsTheSpanAndDropsWhatDepends) {
  constexpr int64_t kCount = 40;
  Floats rows = noise(kCount * kColumns, 3);
  const auto row = [&](int64_t i) { return rows.begin() + i * kColumns; };
  std::fill(row(0), row(1), 0.f);                                                    // nothing
  std::transform(row(4), row(5), row(7), [](float x) { return -1000.f * x; });       // a multiple
  for (int64_t c = 0; c < kColumns; ++c) row(9)[c] = row(2)[c] + 1e-3f * row(9)[c];  // nearly one: ill-conditioned
  const Floats before = rows;
  const int64_t n = orthonormal_rows(Context(1), view(rows, kColumns));
  EXPECT_EQ(n, kCount - 2);
  rows.resize(static_cast<size_t>(n * kColumns));
  EXPECT_LE(from_orthonormal(rows, n), 4 * kEps);
  for (int64_t i = 0; i < kCount; ++i) {  // each row from before lies in the span: its length is that of its projection
    double length = 0, within = 0;
    for (int64_t c = 0; c < kColumns; ++c) {
      const double x = before[static_cast<size_t>(i * kColumns + c)];
      length += x * x;
    }
    for (int64_t j = 0; j < n; ++j) {
      double dot = 0;
      for (int64_t c = 0; c < kColumns; ++c)
        dot += double{before[static_cast<size_t>(i * kColumns + c)]} * rows[static_cast<size_t>(j * kColumns + c)];
      within += dot * dot;
    }
    EXPECT_NEAR(within, length, 16 * kColumns * kEps * length) << i;
  }
}

TEST(TruncatedSvd, IsOrthonormalAndNearTheBest) {
  const Context context(1);
  // excess: of |X - X_R| over the optimum, at two turns.
  struct Case {
    double ratio;
    double excess[3];
  };
  for (const Case& c :
       {Case{0.8, {1e-4, 0.10, 0.01}}, Case{0.95, {1e-4, 0.10, 0.05}}, Case{0.99, {1e-4, 0.10, 0.05}}}) {
    const std::vector<double> s = geometric(kColumns, c.ratio);
    Floats x = with_spectrum(s);
    for (int way = 0; way < 3; ++way) {
      const LowRank f = truncated_svd(context, view(x, kColumns), {.way = kWays[way], .rank = 24});
      ASSERT_EQ(f.rank, 24);
      EXPECT_LE(from_orthonormal(f.directions, f.rank), 16 * kEps) << way;
      const double best = tail(s, f.rank), rounding = 16 * kEps * std::sqrt(f.energy);
      EXPECT_LE(distance(x, f), (1 + c.excess[way]) * best + rounding) << c.ratio << ", way " << way;
      EXPECT_GE(distance(x, f), best - rounding);
      // What is lost is what the spectrum says.
      double held = 0;
      for (double value : f.spectrum) held += value * value;
      EXPECT_NEAR(std::sqrt(std::max(f.energy - held, 0.0)), distance(x, f), 1e-3 * distance(x, f) + 1e-3) << way;
      // Columns of coefficients are orthogonal, of the spectrum's lengths, which descend.
      for (int64_t j = 0; j < f.rank; ++j) {
        for (int64_t i = 0; i <= j; ++i) {
          double dot = 0;
          for (int64_t t = 0; t < kRows; ++t)
            dot += double{f.coefficients[static_cast<size_t>(t * f.rank + i)]} *
                   f.coefficients[static_cast<size_t>(t * f.rank + j)];
          const double wanted = i == j ? f.spectrum[static_cast<size_t>(j)] * f.spectrum[static_cast<size_t>(j)] : 0;
          EXPECT_NEAR(dot, wanted, 64 * kEps * f.spectrum[0] * f.spectrum[0]) << way << ", " << i << ", " << j;
        }
        if (j > 0) {
          EXPECT_LE(f.spectrum[static_cast<size_t>(j)], f.spectrum[static_cast<size_t>(j - 1)]);
        }
      }
    }
  }
}

TEST(TruncatedSvd, ExactFindsTheSpectrum) {
  const std::vector<double> s = geometric(kColumns, 0.9);
  Floats x = with_spectrum(s);
  const LowRank f = truncated_svd(Context(1), view(x, kColumns), {.way = SvdWay::kExact, .rank = kColumns});
  const std::vector<double> values = singular_values(view(x, kColumns));
  for (size_t j = 0; j < static_cast<size_t>(f.rank); ++j) {
    EXPECT_NEAR(f.spectrum[j], s[j], 4 * kEps * s[0]) << j;
    EXPECT_NEAR(values[j], s[j], 4 * kEps * s[0]) << j;
  }
  std::vector<double> products(kColumns * kColumns, 0.0);
  for (size_t t = 0; t < kRows; ++t)
    for (size_t i = 0; i < kColumns; ++i)
      for (size_t j = 0; j < kColumns; ++j)
        products[i * kColumns + j] += double{x[t * kColumns + i]} * x[t * kColumns + j];
  const std::vector<double> same = singular_values(products);
  for (size_t j = 0; j < static_cast<size_t>(f.rank); ++j) EXPECT_NEAR(same[j], values[j], 4 * kEps * s[0]) << j;
  products[5] = std::nan("");
  EXPECT_THROW(singular_values(products), Error);
  EXPECT_THROW(singular_values(std::span(products).first(7)), Error);
}

TEST(TruncatedSvd, MoreTurnsAreNoWorse) {
  const std::vector<double> s = geometric(kColumns, 0.97);
  Floats x = with_spectrum(s);
  for (SvdWay way : {SvdWay::kAlternating, SvdWay::kBlock}) {
    double last = 1e9;
    for (int iterations : {1, 2, 6}) {
      const LowRank f =
          truncated_svd(Context(1), view(x, kColumns), {.way = way, .rank = 16, .iterations = iterations});
      EXPECT_LE(distance(x, f), last * 1.01);
      last = distance(x, f);
    }
    EXPECT_LE(last, 1.03 * tail(s, 16));
  }
}

TEST(TruncatedSvd, AWarmStartTakesFewerTurns) {
  Floats x = with_spectrum(geometric(kColumns, 0.9));
  Floats next = x;
  const Floats change = noise(kRows * kColumns, 17);
  for (size_t i = 0; i < next.size(); ++i) next[i] += 1e-3f * change[i];
  const Context context(1);
  for (SvdWay way : {SvdWay::kAlternating, SvdWay::kBlock}) {
    const SvdOptions cold{.way = way, .rank = 16, .iterations = 50, .tolerance = 1e-4};
    LowRank first = truncated_svd(context, view(x, kColumns), cold);
    SvdOptions warm = cold;
    warm.start = f32_view(first.directions.data(), {first.rank, kColumns});
    const LowRank a = truncated_svd(context, view(next, kColumns), cold);
    const LowRank b = truncated_svd(context, view(next, kColumns), warm);
    EXPECT_LT(b.turns, a.turns);
    EXPECT_LE(distance(next, b), 1.01 * distance(next, a));
  }
}

TEST(TruncatedSvd, KeepsWhatTheEnergyNeeds) {
  const std::vector<double> s = geometric(kColumns, 0.9);
  Floats x = with_spectrum(s);
  for (double share : {0.5, 0.9, 0.99})
    for (SvdWay way : kWays) {
      const LowRank f =
          truncated_svd(Context(1), view(x, kColumns), {.way = way, .rank = 60, .energy = share, .iterations = 8});
      EXPECT_EQ(f.rank, energy_rank(s, share)) << share;
    }
}

TEST(TruncatedSvd, OfLessThanWasAskedFor) {
  const Context context(1);
  Floats zeros(kRows * kColumns, 0.f), plain = with_spectrum({5, 3, 1});
  Floats row = noise(kColumns, 2);
  for (SvdWay way : kWays) {
    EXPECT_EQ(truncated_svd(context, view(zeros, kColumns), {.way = way, .rank = 8}).rank, 0);
    const LowRank three = truncated_svd(context, view(plain, kColumns), {.way = way, .rank = 8});
    EXPECT_GE(three.rank, 3);
    EXPECT_LE(distance(plain, three), 16 * kEps * 5);
    for (size_t j = 3; j < three.spectrum.size(); ++j) EXPECT_LE(three.spectrum[j], 64 * kEps * 5);
    EXPECT_LE(from_orthonormal(three.directions, three.rank), 16 * kEps);
    const LowRank one = truncated_svd(context, view(row, kColumns), {.way = way, .rank = 500});
    EXPECT_EQ(one.rank, 1);
    EXPECT_NEAR(std::abs(one.coefficients[0]), std::sqrt(one.energy), 16 * kEps * std::sqrt(one.energy));
  }
  // A start that knows nothing of x.
  Floats nothing(kColumns, 0.f);
  for (SvdWay way : {SvdWay::kAlternating, SvdWay::kBlock}) {
    const LowRank f = truncated_svd(
        context, view(plain, kColumns),
        {.way = way, .rank = 1, .iterations = 20, .oversample = 0, .start = f32_view(nothing.data(), {1, kColumns})});
    EXPECT_NEAR(f.spectrum.at(0), 5, 1e-3);
  }
  // A start of which x has nothing.
  Floats last(kColumns, 0.f);
  last.back() = 1;
  for (size_t i = kColumns - 1; i < plain.size(); i += kColumns) plain[i] = 0;
  EXPECT_EQ(truncated_svd(context, view(plain, kColumns),
                          {.rank = 1, .oversample = 0, .start = f32_view(last.data(), {1, kColumns})})
                .rank,
            1);
}

// Equal rows with opposite signs add up to nothing, whichever signs the seed draws.
TEST(TruncatedSvd, SignsThatCancelLoseNothing) {
  for (uint64_t seed = 1; seed <= 16; ++seed) {
    Floats row = noise(kColumns, 5), x = row;
    x.insert(x.end(), row.begin(), row.end());
    x.resize(4 * kColumns, 0.f);
    const LowRank f = truncated_svd(Context(1), view(x, kColumns), {.rank = 1, .oversample = 0, .seed = seed});
    ASSERT_EQ(f.rank, 1) << seed;
    EXPECT_NEAR(f.spectrum[0] * f.spectrum[0], f.energy, 16 * kEps * f.energy) << seed;
  }
}

TEST(TruncatedSvd, OfFewRowsMissesNoDirection) {
  for (int64_t rows = 2; rows <= 24; ++rows) {
    Floats x = noise(rows * kColumns, 7);
    const LowRank f = truncated_svd(Context(1), view(x, kColumns), {.rank = rows});
    EXPECT_EQ(f.rank, rows);
    double held = 0;
    for (double s : f.spectrum) held += s * s;
    EXPECT_NEAR(held / f.energy, 1, 16 * kEps);
  }
}

TEST(TruncatedSvd, DoesNotDependOnThreads) {
  Floats x = with_spectrum(geometric(kColumns, 0.95));
  for (SvdWay way : kWays) {
    const LowRank one = truncated_svd(Context(1), view(x, kColumns), {.way = way, .rank = 20});
    const LowRank two = truncated_svd(Context(2), view(x, kColumns), {.way = way, .rank = 20});
    EXPECT_EQ(one.directions, two.directions);
    EXPECT_EQ(one.coefficients, two.coefficients);
  }
}

TEST(TruncatedSvd, RefusesWhatItCannotFactor) {
  const Context context(1);
  Floats x = noise(kRows * kColumns, 1), bad = x;
  bad[77] = std::nanf("");
  EXPECT_THROW(truncated_svd(context, view(bad, kColumns), {.rank = 4}), Error);
  bad[77] = std::numeric_limits<float>::infinity();
  EXPECT_THROW(truncated_svd(context, view(bad, kColumns), {.rank = 4}), Error);
  EXPECT_THROW(truncated_svd(context, view(x, kColumns), {.rank = 4, .start = view(bad, kColumns)}), Error);
  EXPECT_THROW(truncated_svd(context, view(x, kColumns), {.rank = 0}), Error);
  EXPECT_THROW(truncated_svd(context, view(x, kColumns), {.rank = 4, .energy = 1.5}), Error);
  EXPECT_THROW(truncated_svd(context, view(x, kColumns), {.rank = 4, .iterations = 0}), Error);
  EXPECT_THROW(truncated_svd(context, view(x, kColumns), {.rank = 4, .start = f32_view(x.data(), {1, 5})}), Error);
  EXPECT_THROW(singular_values(view(bad, kColumns)), Error);
}

TEST(Spectrum, EntropyCountsDirections) {
  const std::vector<double> equal(40, 2.5), one{3, 0, 0};
  EXPECT_NEAR(svd_entropy(equal), std::log2(40), 1e-12);
  EXPECT_EQ(entropy_rank(equal), 40);
  EXPECT_EQ(svd_entropy(one), 0);
  EXPECT_EQ(entropy_rank(one), 1);
  EXPECT_EQ(entropy_rank(std::vector<double>{0, 0}), 1);
  EXPECT_EQ(energy_rank(equal, 0.5), 20);
  const auto held = [](const std::vector<double>& s) {
    return 1 - std::pow(tail(s, entropy_rank(s)), 2) / std::pow(tail(s, 0), 2);
  };
  for (double ratio : {0.5, 0.9, 0.99}) EXPECT_GE(held(geometric(400, ratio)), 0.96) << ratio;  // the theorem
  std::vector<double> slow;
  for (int i = 1; i <= 512; ++i) slow.push_back(1 / std::sqrt(i));
  EXPECT_LT(held(slow), 0.97);  // and its limit
}

}  // namespace
}  // namespace lowkey
