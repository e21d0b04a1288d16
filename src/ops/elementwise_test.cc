// The light ops: rmsnorm, layernorm, swiglu, gelu, soft_cap, add, softmax, logsumexp, embed, each against its reference
// on every instruction set.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "base/isa.h"
#include "ops/add.h"
#include "ops/embed.h"
#include "ops/gelu.h"
#include "ops/layernorm.h"
#include "ops/quantize.h"
#include "ops/rmsnorm.h"
#include "ops/soft_cap.h"
#include "ops/softmax.h"
#include "ops/swiglu.h"

namespace lowkey {
namespace {

constexpr double kEpsilon = 0x1p-24;  // unit roundoff of f32

struct Shape {
  int64_t rows, columns;
};
constexpr Shape kShapes[] = {{1, 1}, {1, 7}, {3, 31}, {2, 64}, {5, 100}, {1, 2048}, {17, 2049}, {2, 32000}};

std::vector<float> random_values(int64_t n, float scale) {
  std::mt19937 random(static_cast<uint32_t>(n));
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<size_t>(n));
  for (float& v : x) v = normal(random) * scale;
  return x;
}

// f() for every shape and instruction set up to the one in force.
template <typename F>
void for_all(F&& f) {
  const Isa best = active_isa();
  for (Isa isa : {Isa::kBaseline, Isa::kAvx2, Isa::kAvx512}) {
    if (isa > best) continue;
    limit_isa(isa);
    for (const Shape& shape : kShapes) f(shape);
  }
  limit_isa(best);
}

TEST(Rmsnorm, AgreesWithTheReference) {
  const Context context(2);
  for_all([&](Shape s) {
    std::vector<float> x = random_values(s.rows * s.columns, 3), gain = random_values(s.columns, 1), want(x), out(x);
    const View gain_view = f32_view(gain.data(), {s.columns});
    ref::rmsnorm(
        {f32_view(x.data(), {s.rows, s.columns}), gain_view, 1e-5f, f32_view(want.data(), {s.rows, s.columns})});
    const View in_place = f32_view(out.data(), {s.rows, s.columns});
    rmsnorm(context, {in_place, gain_view, 1e-5f, in_place});
    // The sum of squares has no cancellation: sqrt(C) roundings of it, halved by the root, and three products.
    const double bound = (4 + std::sqrt(static_cast<double>(s.columns)) / 2) * kEpsilon;
    for (size_t i = 0; i < out.size(); ++i) ASSERT_LE(std::fabs(out[i] - want[i]), bound * std::fabs(want[i]));
  });
}

TEST(Layernorm, AgreesWithTheReferenceFarFromZeroToo) {
  const Context context(2);
  for_all([&](Shape s) {
    for (float offset : {0.f, 2.f, -300.f}) {
      std::vector<float> x = random_values(s.rows * s.columns, 3), gain = random_values(s.columns, 1),
                         bias = random_values(s.columns, 2), want(x.size());
      for (float& v : x) v += offset;
      std::vector<float> out = x;
      const View gain_view = f32_view(gain.data(), {s.columns}), bias_view = f32_view(bias.data(), {s.columns});
      ref::layernorm({f32_view(x.data(), {s.rows, s.columns}), gain_view, bias_view, 1e-5f,
                      f32_view(want.data(), {s.rows, s.columns})});
      const View in_place = f32_view(out.data(), {s.rows, s.columns});
      layernorm(context, {in_place, gain_view, bias_view, 1e-5f, in_place});
      // The mean errs by about sqrt(C) roundings of the mean |x| and shifts every element; that, and the square root of
      // a sum without cancellation, are then multiplied by gain / deviation.
      const double roundings = 4 + std::sqrt(static_cast<double>(s.columns));
      for (int64_t r = 0; r < s.rows; ++r) {
        double size = 0, mean = 0, squares = 0;
        for (int64_t c = 0; c < s.columns; ++c) mean += x[r * s.columns + c] / static_cast<double>(s.columns);
        for (int64_t c = 0; c < s.columns; ++c) size += std::fabs(x[r * s.columns + c]);
        for (int64_t c = 0; c < s.columns; ++c) squares += std::pow(x[r * s.columns + c] - mean, 2);
        const double scale = 1 / std::sqrt(squares / static_cast<double>(s.columns) + 1e-5);
        const double shift = roundings * kEpsilon * size / static_cast<double>(s.columns) * scale;
        for (int64_t c = 0; c < s.columns; ++c) {
          const size_t i = static_cast<size_t>(r * s.columns + c);
          const double unit = std::fabs(x[i] - mean) * scale;
          // The variance is taken about the mean as it came out, which adds the square of the shift.
          const double bound = std::fabs(gain[c]) * (shift + unit * (roundings * kEpsilon + shift * shift)) +
                               2 * kEpsilon * std::fabs(want[i]) + kEpsilon * std::fabs(bias[c]);
          ASSERT_LE(std::fabs(out[i] - want[i]), bound) << s.columns << " columns about " << offset;
        }
      }
    }
  });
}

TEST(Gelu, AgreesWithTheReferenceInPlaceToo) {
  const Context context(2);
  for_all([&](Shape s) {
    std::vector<float> x = random_values(s.rows * s.columns, 3), want(x), out(x);
    ref::gelu({f32_view(x.data(), {s.rows, s.columns}), f32_view(want.data(), {s.rows, s.columns})});
    const View in_place = f32_view(out.data(), {s.rows, s.columns});
    gelu(context, {in_place, in_place});
    for (size_t i = 0; i < out.size(); ++i) {
      // The exponent x^2 / 2 rounds twice, the polynomial and exp() err by some ulps.
      const double bound = kEpsilon * (10 + double{x[i]} * x[i]) * std::fabs(want[i]) + 1e-36;
      ASSERT_LE(std::fabs(out[i] - want[i]), bound) << x[i];
    }
  });
}

TEST(Gelu, WithTanhAgreesWithTheReferenceTooAndMultiplies) {
  const Context context(2);
  for_all([&](Shape s) {
    std::vector<float> x = random_values(s.rows * s.columns, 3), up = random_values(s.rows * s.columns, 1), want(x),
                       out(x);
    const auto view = [&](std::vector<float>& values) { return f32_view(values.data(), {s.rows, s.columns}); };
    for (bool gated : {false, true}) {
      out = x;
      const View factor = gated ? view(up) : View{};
      ref::gelu({.x = view(x), .out = view(want), .tanh = true, .up = factor});
      gelu(context, {.x = view(out), .out = view(out), .tanh = true, .up = factor});
      for (size_t i = 0; i < out.size(); ++i) {
        const double z = 0.8 * std::fabs(x[i]) * (1 + 0.0448 * x[i] * x[i]);
        ASSERT_LE(std::fabs(out[i] - want[i]), kEpsilon * (12 + 8 * z) * std::fabs(want[i]) + 1e-36) << x[i];
      }
    }
  });
}

TEST(SoftCap, AgreesWithTheReference) {
  const Context context(2);
  for_all([&](Shape s) {
    for (float cap : {0.3f, 5.f, 50.f}) {
      std::vector<float> x = random_values(s.rows * s.columns, 6), want(x), out(x);
      ref::soft_cap({f32_view(want.data(), {s.rows, s.columns}), cap});
      soft_cap(context, {f32_view(out.data(), {s.rows, s.columns}), cap});
      for (size_t i = 0; i < out.size(); ++i) ASSERT_LE(std::fabs(out[i] - want[i]), 0x1p-20 * std::fabs(want[i]));
    }
  });
}

TEST(Gelu, IsQuietAtTheEnds) {
  const Context context(1);
  float x[] = {-INFINITY, -1000.f, -13.f, -0.f, 0.f, 1000.f, INFINITY, NAN}, out[8];
  gelu(context, {f32_view(x, {1, 8}), f32_view(out, {1, 8})});
  for (int i = 0; i < 3; ++i) EXPECT_NEAR(out[i], 0, 1e-35) << x[i];
  EXPECT_EQ(out[3], 0);
  EXPECT_EQ(out[4], 0);
  EXPECT_EQ(out[5], 1000.f);
  EXPECT_EQ(out[6], INFINITY);
  EXPECT_TRUE(std::isnan(out[7]));
}

TEST(Swiglu, AgreesWithTheReferenceInPlaceToo) {
  const Context context(2);
  for_all([&](Shape s) {
    std::vector<float> gate = random_values(s.rows * s.columns, 20), up = random_values(s.rows * s.columns, 2),
                       want(gate);
    const View gate_view = f32_view(gate.data(), {s.rows, s.columns}),
               up_view = f32_view(up.data(), {s.rows, s.columns});
    ref::swiglu({gate_view, up_view, f32_view(want.data(), {s.rows, s.columns})});
    const std::vector<float> before = gate;
    swiglu(context, {gate_view, up_view, gate_view});
    for (size_t i = 0; i < want.size(); ++i) {
      // exp: 2 ulp of its argument's rounding and its own; below exp(-87) the result counts as 0.
      const double bound = 8 * kEpsilon * std::fabs(want[i]) + 1e-36 * std::fabs(before[i] * up[i]);
      ASSERT_LE(std::fabs(gate[i] - want[i]), bound) << before[i] << " " << up[i];
    }
  });
}

TEST(Swiglu, IsQuietAtTheEnds) {
  const Context context(1);
  float gate[] = {-INFINITY, -1000.f, -88.f, 0.f, 88.f, 1000.f}, up[] = {1, 1, 1, 1, 1, 1}, out[6];
  swiglu(context, {f32_view(gate, {1, 6}), f32_view(up, {1, 6}), f32_view(out, {1, 6})});
  EXPECT_NEAR(out[1], 0, 1e-34);
  EXPECT_NEAR(out[2], 0, 1e-34);
  EXPECT_EQ(out[3], 0);
  EXPECT_EQ(out[4], 88.f);
  EXPECT_EQ(out[5], 1000.f);
}

TEST(Add, AddsEveryElement) {
  const Context context(2);
  for_all([&](Shape s) {
    std::vector<float> x = random_values(s.rows * s.columns, 1), y = random_values(s.rows * s.columns, 5), want(x);
    for (size_t i = 0; i < x.size(); ++i) want[i] += y[i];
    add(context, {f32_view(x.data(), {s.rows, s.columns}), f32_view(y.data(), {s.rows, s.columns})});
    ASSERT_EQ(x, want);
  });
}

TEST(Add, AddsARowToEveryRow) {
  const Context context(2);
  for_all([&](Shape s) {
    std::vector<float> x = random_values(s.rows * s.columns, 1), y = random_values(s.columns, 5), want(x);
    for (size_t i = 0; i < x.size(); ++i) want[i] += y[i % y.size()];
    add(context, {f32_view(x.data(), {s.rows, s.columns}), f32_view(y.data(), {s.columns})});
    ASSERT_EQ(x, want);
  });
}

TEST(Softmax, AgreesWithTheReference) {
  const Context context(2);
  for_all([&](Shape s) {
    for (float temperature : {1.f, 0.3f, 5.f}) {
      std::vector<float> x = random_values(s.rows * s.columns, 8), want = x;
      const std::vector<float> scores = x;
      ref::softmax({f32_view(want.data(), {s.rows, s.columns}), temperature});
      softmax(context, {f32_view(x.data(), {s.rows, s.columns}), temperature});
      // The rounding of an exponent e is e ulps of the result; exp adds a few, the sum those of its f32 blocks of 1024.
      const double sum_error = std::sqrt(static_cast<double>(std::min<int64_t>(s.columns, 1024)));
      for (int64_t r = 0; r < s.rows; ++r) {
        const float* row = scores.data() + r * s.columns;
        const float peak = *std::max_element(row, row + s.columns);
        for (int64_t c = 0; c < s.columns; ++c) {
          const double exponent = (peak - row[c]) / temperature, wanted = want[r * s.columns + c];
          const double bound = (16 + 3 * exponent + sum_error) * kEpsilon * wanted + 1e-37;
          ASSERT_LE(std::fabs(x[r * s.columns + c] - wanted), bound) << "row " << r << " column " << c;
        }
      }
    }
  });
}

TEST(Logsumexp, AgreesWithTheReference) {
  const Context context(2);
  for_all([&](Shape s) {
    std::vector<float> x = random_values(s.rows * s.columns, 8), want(s.rows), out(s.rows);
    const View view = f32_view(x.data(), {s.rows, s.columns});
    ref::logsumexp(view, f32_view(want.data(), {s.rows}));
    logsumexp(context, view, f32_view(out.data(), {s.rows}));
    // Weighted by exp(-e), exponents e err by e ulps: about one in the sum, and the result's own rounding.
    for (int64_t r = 0; r < s.rows; ++r) ASSERT_LE(std::fabs(out[r] - want[r]), kEpsilon * (16 + std::fabs(want[r])));
  });
}

TEST(Embed, CopiesRowsOfAnyType) {
  const Context context(2);
  const std::vector<float> table = random_values(10 * 64, 1);
  const int32_t ids[] = {3, 0, 9, 3};
  for (DType type : {DType::kF32, DType::kF16, DType::kBF16, DType::kQ8_0, DType::kQ4_0}) {
    std::vector<std::byte> bytes(static_cast<size_t>(10 * row_bytes(type, 64)));
    for (int64_t r = 0; r < 10; ++r) quantize_row(type, &table[r * 64], bytes.data() + r * row_bytes(type, 64), 64);
    std::vector<float> out(4 * 64), want(64);
    embed(context, {View(bytes.data(), type, {10, 64}), ids, f32_view(out.data(), {4, 64})});
    for (int t = 0; t < 4; ++t) {
      ref::dequantize_row(type, bytes.data() + ids[t] * row_bytes(type, 64), want.data(), 64);
      EXPECT_EQ(std::memcmp(&out[t * 64], want.data(), 64 * sizeof(float)), 0) << name(type);
    }
  }
}

TEST(Elementwise, RefuseAtTheDoor) {
  const Context context(1);
  float a[8] = {}, b[8] = {};
  const View two = f32_view(a, {2, 4}), other = f32_view(b, {1, 8}), bytes(b, DType::kF16, {2, 4});
  const int32_t high[] = {2}, low[] = {-1};
  EXPECT_THROW(add(context, {two, other}), Error);
  EXPECT_THROW(add(context, {two, bytes}), Error);
  EXPECT_THROW(add(context, {two, f32_view(b, {2})}), Error);
  EXPECT_THROW(layernorm(context, {two, f32_view(b, {4}), f32_view(b, {3}), 1e-5f, two}), Error);
  EXPECT_THROW(gelu(context, {two, other}), Error);
  EXPECT_THROW(rmsnorm(context, {two, other, 1e-5f, two}), Error);
  EXPECT_THROW(swiglu(context, {two, other, two}), Error);
  EXPECT_THROW(softmax(context, {two, 0.f}), Error);
  EXPECT_THROW(softmax(context, {two, NAN}), Error);
  EXPECT_THROW(logsumexp(context, two, two), Error);
  EXPECT_THROW(embed(context, {two, high, f32_view(b, {1, 4})}), Error);
  EXPECT_THROW(embed(context, {two, low, f32_view(b, {1, 4})}), Error);
  EXPECT_THROW(embed(context, {two, low, f32_view(b, {1, 5})}), Error);
}

}  // namespace
}  // namespace lowkey
