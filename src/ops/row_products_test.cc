#include "ops/row_products.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "base/error.h"
#include "base/isa.h"
#include "ops/transpose.h"

namespace lowkey {
namespace {

std::vector<float> noise(int64_t count) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<size_t>(count));
  for (float& value : x) value = normal(random);
  return x;
}

TEST(RowProducts, AreThoseOfTheReference) {
  const Isa best = active_isa();
  for (const auto& [n, k] : {std::pair<int64_t, int64_t>{1, 1}, {5, 7}, {12, 256}, {13, 257}, {40, 1031}}) {
    std::vector<float> x = noise(n * k);
    for (int64_t i = 0; i < k; ++i) x[static_cast<size_t>(i)] *= 1e6f;  // a row much longer than the others
    const View view = f32_view(x.data(), {n, k});
    std::vector<double> wanted(static_cast<size_t>(n * n)), got(wanted.size()), again(wanted.size());
    ref::row_products({view, wanted.data()});
    for (Isa isa : {Isa::kBaseline, Isa::kAvx2, Isa::kAvx512}) {
      if (isa > best) break;
      limit_isa(isa);
      row_products(Context(1), {view, got.data()});
      row_products(Context(3), {view, again.data()});
      EXPECT_EQ(got, again);
      for (int64_t i = 0; i < n; ++i)
        for (int64_t j = 0; j < n; ++j) {
          const auto at = static_cast<size_t>(i * n + j);
          const double lengths =
              std::sqrt(wanted[static_cast<size_t>(i * n + i)] * wanted[static_cast<size_t>(j * n + j)]);
          EXPECT_NEAR(got[at], wanted[at], static_cast<double>(k) * std::numeric_limits<double>::epsilon() * lengths)
              << name(isa) << ", " << n << " rows of " << k << ": " << i << ", " << j;
        }
    }
    limit_isa(best);
  }
}

TEST(Transpose, MovesEveryElement) {
  for (const auto& [t, c] : {std::pair<int64_t, int64_t>{1, 1}, {3, 40}, {16, 16}, {300, 33}}) {
    std::vector<float> x = noise(t * c), out(x.size());
    transpose(Context(2), {f32_view(x.data(), {t, c}), f32_view(out.data(), {c, t})});
    for (int64_t i = 0; i < t; ++i)
      for (int64_t j = 0; j < c; ++j)
        ASSERT_EQ(out[static_cast<size_t>(j * t + i)], x[static_cast<size_t>(i * c + j)]) << i << ", " << j;
  }
}

TEST(RowProductsDoor, RefusesNonsense) {
  std::vector<float> x(6);
  std::vector<double> out(4);
  const Context context(1);
  EXPECT_THROW(row_products(context, {View(x.data(), DType::kF16, {2, 3}), out.data()}), Error);
  EXPECT_THROW(transpose(context, {f32_view(x.data(), {2, 3}), f32_view(x.data(), {2, 3})}), Error);
}

}  // namespace
}  // namespace lowkey
