#include "ops/matmul.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <utility>
#include <vector>

#include "base/isa.h"
#include "ops/cpu/gemv.h"
#include "ops/matmul_cases.h"
#include "ops/quantize.h"

namespace lowkey {
namespace {

// Those up to the one in force.
std::vector<Isa> isas_below(Isa limit) {
  std::vector<Isa> isas;
  for (Isa isa : {Isa::kBaseline, Isa::kAvx2, Isa::kAvx512, Isa::kAmx}) {
    if (isa <= limit) isas.push_back(isa);
  }
  return isas;
}

// Weights of the type, of mixed size, as bytes.
std::vector<std::byte> random_weights(DType type, int64_t rows, int64_t depth, std::mt19937& random) {
  std::normal_distribution<float> normal;
  std::vector<std::byte> bytes(static_cast<size_t>(rows * row_bytes(type, depth)));
  std::vector<float> row(static_cast<size_t>(depth));
  for (int64_t r = 0; r < rows; ++r) {
    for (float& w : row) w = normal(random) * 0.05f;
    ref::quantize_row(type, row.data(), bytes.data() + r * row_bytes(type, depth), depth);
  }
  return bytes;
}

// Activations with outliers, as transformers have them.
std::vector<float> random_activations(int64_t n, std::mt19937& random) {
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<size_t>(n));
  for (float& v : x) v = normal(random) * (random() % 97 == 0 ? 50.f : 1.f);
  return x;
}

class Problem {
 public:
  Problem(DType type, const MatmulCase& c)
      : case_(c), random_(static_cast<uint32_t>(c.rows * 31 + c.depth * 7 + c.outputs)) {
    x_ = random_activations(c.rows * c.depth, random_);
    weights_ = random_weights(type, c.outputs, c.depth, random_);
    out_.resize(static_cast<size_t>(c.rows * c.outputs), NAN);
    w = View(weights_.data(), type, {c.outputs, c.depth});
  }
  View x() { return f32_view(x_.data(), {case_.rows, case_.depth}); }
  View out() { return f32_view(out_.data(), {case_.rows, case_.outputs}); }
  const std::vector<float>& run(const Context& context) {
    std::fill(out_.begin(), out_.end(), NAN);
    matmul(context, {x(), w, out()});
    return out_;
  }
  const std::vector<float>& run_reference() {
    ref::matmul({x(), w, out()});
    return out_;
  }
  // What the arithmetic may be off by at (t, n), from its unit roundoffs: f32 products and sums, those of scales
  // and of mins apart from each other; for quantised weights, x rounded to 1 / 16383 of its block's peak (kQ8_0) or
  // to 1 / 127 of its reach, rounded up to the next of 63 shares of that of 256; on AMX, both factors rounded to bf16.
  double bound(int64_t t, int64_t n, std::vector<float>& row) {
    ref::dequantize_row(w.dtype, w.row(n), row.data(), case_.depth);
    const float* x = x_.data() + t * case_.depth;
    const bool q8 = w.dtype == DType::kQ8_0, exact = !is_quantised(w.dtype) || q8;
    double products = 0, of_x = 0, of_share = 0, parts = 0;
    for (int64_t b = 0; b < case_.depth; b += kQuantBlock) {
      double peak_x = 0, peak_w = 0, sum_x = 0, sum_w = 0;
      for (int64_t k = b; k < std::min(b + kQuantBlock, case_.depth); ++k) {
        products += std::fabs(double{x[k]} * row[k]);
        peak_x = std::max(peak_x, std::fabs(double{x[k]})), sum_x += std::fabs(x[k]);
        peak_w = std::max(peak_w, std::fabs(double{row[k]})), sum_w += std::fabs(row[k]);
      }
      double reach_group = 0;
      const int64_t group = b / kSuperBlock * kSuperBlock;
      for (int64_t k = group; !exact && k < std::min(group + kSuperBlock, case_.depth); k += kQuantBlock)
        reach_group = std::max(reach_group, reach(x + k));
      of_x += 0.5 * peak_x * sum_w;
      if (!exact) of_share += 0.5 * std::min(reach_group, reach(x + b) + reach_group / kShareMax) * sum_w;
      parts += 2 * peak_w * sum_x;  // scale * code and min: together at most what the block spans
    }
    double bound = (8 + std::sqrt(static_cast<double>(case_.depth))) * 0x1p-24 * (products + (exact ? 0 : parts));
    if (q8) bound += of_x / 16383;
    if (!exact) bound += of_share / kByteMax;
    if (active_isa() == Isa::kAmx && w.dtype != DType::kF32) bound += 2 * 0x1p-8 * products;
    return bound;
  }

  View w;

 private:
  // Of a block of x in 8 bits: its peak, or what keeps the sums of its halves within kHalfMax.
  static double reach(const float* x) {
    double peak = 0, sums[2] = {};
    for (int k = 0; k < kQuantBlock; ++k) {
      const double size = std::fabs(double{x[k]});
      peak = std::max(peak, size), sums[k / 16] += size;
    }
    return std::max(peak, std::max(sums[0], sums[1]) * kByteMax / (kHalfMax - kHalfRounding));
  }

  MatmulCase case_;
  std::mt19937 random_;
  std::vector<float> x_, out_;
  std::vector<std::byte> weights_;
};

class MatmulTest : public testing::TestWithParam<DType> {
 protected:
  void TearDown() override { limit_isa(isa_); }
  const Isa isa_ = active_isa();
  bool divides(const MatmulCase& c) const { return c.depth % block_elements(GetParam()) == 0; }
};

TEST_P(MatmulTest, AgreesWithTheReferenceOnEveryInstructionSet) {
  Context context(2);
  for (const MatmulCase& c : kMatmulTestCases) {
    if (!divides(c)) continue;
    Problem problem(GetParam(), c);
    const std::vector<float> expected = problem.run_reference();
    std::vector<float> row(static_cast<size_t>(c.depth));
    for (Isa isa : isas_below(isa_)) {
      limit_isa(isa);
      const std::vector<float>& out = problem.run(context);
      for (int64_t i = 0; i < c.rows * c.outputs; ++i) {
        const double bound = problem.bound(i / c.outputs, i % c.outputs, row);
        ASSERT_LE(std::fabs(out[i] - expected[i]), bound)
            << name(isa) << " T=" << c.rows << " K=" << c.depth << " N=" << c.outputs << " at " << i;
      }
    }
  }
}

TEST_P(MatmulTest, IsTheSameForAnyNumberOfThreads) {
  for (const MatmulCase& c : kMatmulTestCases) {
    if (!divides(c)) continue;
    Problem problem(GetParam(), c);
    const std::vector<float> one = problem.run(Context(1));
    for (int threads : {2, 3}) EXPECT_EQ(problem.run(Context(threads)), one) << threads << " threads, T=" << c.rows;
  }
}

// A row of the result does not depend on the rows beside it, on either side of the switch from GEMV to GEMM.
TEST_P(MatmulTest, RowsAreIndependent) {
  const Context context(2);
  for (int64_t rows : {4, 40}) {
    Problem problem(GetParam(), {rows, 512, 33});
    const std::vector<float> all = problem.run(context);
    const int64_t fewer = rows == 4 ? 1 : 11;  // still the same kernel
    std::vector<float> out(static_cast<size_t>(fewer * 33));
    for (int64_t t = 0; t + fewer <= rows; t += fewer) {
      matmul(context, {problem.x().slice_rows(t, t + fewer), problem.w, f32_view(out.data(), {fewer, 33})});
      ASSERT_EQ(std::memcmp(out.data(), &all[t * 33], out.size() * sizeof(float)), 0) << rows << " rows, from " << t;
    }
  }
}

// The largest codes and scales with the largest x: integer sums hold them.
TEST(Matmul, SumsHoldTheExtremes) {
  struct Layout {
    DType type;
    size_t scales, count;        // bytes of packed scales
    std::vector<size_t> halves;  // where f16 numbers lie
  };
  const Layout layouts[] = {{DType::kQ4_0, 0, 0, {0}},       {DType::kQ5_1, 0, 0, {0, 2}},
                            {DType::kQ2_K, 0, 16, {80, 82}}, {DType::kQ3_K, 96, 12, {108}},
                            {DType::kQ4_K, 4, 12, {0, 2}},   {DType::kQ5_K, 4, 12, {0, 2}},
                            {DType::kQ6_K, 192, 16, {208}}};
  const Context context(1);
  const MatmulCase cases[] = {{1, kSuperBlock, 1}, {16, kSuperBlock, 1}};  // GEMV and GEMM
  std::vector<float> row(kSuperBlock);
  for (const Layout& layout : layouts) {
    for (const MatmulCase& c : cases) {
      Problem problem(layout.type, c);
      auto* bytes = static_cast<uint8_t*>(problem.w.data);
      const auto size = static_cast<size_t>(row_bytes(layout.type, kSuperBlock));
      const auto step = static_cast<size_t>(block_bytes(layout.type));
      for (const auto& [scale, code] : {std::pair{0x7f, 0xff}, {0x80, 0xff}, {0xff, 0xff}, {0x0f, 0xff}, {0x80, 0}}) {
        std::memset(bytes, code, size);
        for (size_t at = 0; at < size; at += step) {
          std::memset(bytes + at + layout.scales, scale, layout.count);
          for (size_t half : layout.halves) std::memcpy(bytes + at + half, "\x00\x3c", 2);  // 1
        }
        for (float x : {1.f, -1.f}) {
          std::fill_n(problem.x().f32(), c.rows * kSuperBlock, x);
          const float expected = problem.run_reference()[0];
          EXPECT_NEAR(problem.run(context)[0], expected, problem.bound(0, 0, row))
              << name(layout.type) << " T=" << c.rows << ' ' << scale << ' ' << code;
        }
      }
    }
  }
}

// What is no number in a row of x leaves no number in its outputs, and all of the other rows'.
TEST_P(MatmulTest, KeepsWhatIsNoNumber) {
  const Context context(2);
  for (int64_t rows : {2, 20}) {
    for (float strange : {NAN, -NAN, INFINITY, -INFINITY}) {
      Problem problem(GetParam(), {rows, 768, 5});
      const std::vector<float> before = problem.run(context);
      for (int64_t k : {0, 300, 767}) {
        for (Isa isa : isas_below(isa_)) {
          limit_isa(isa);
          const float kept = std::exchange(*(problem.x().f32_row(1) + k), strange);
          const std::vector<float>& out = problem.run(context);
          for (int64_t i = 5; i < 10; ++i) {
            ASSERT_FALSE(std::isfinite(out[i])) << name(isa) << " T=" << rows << ' ' << strange << " at " << k;
            ASSERT_TRUE(std::isinf(strange) || std::isnan(out[i])) << name(isa) << " T=" << rows << " at " << k;
          }
          ASSERT_TRUE(isa != isa_ || std::memcmp(out.data(), before.data(), 5 * sizeof(float)) == 0);
          *(problem.x().f32_row(1) + k) = kept;
        }
      }
    }
  }
}

TEST_P(MatmulTest, PartsEqualSeparateCalls) {
  const Context context(2);
  for (int64_t rows : {1, 3, 20}) {
    Problem one(GetParam(), {rows, 256, 40}), two(DType::kF32, {rows, 256, 5}), three(DType::kQ8_0, {rows, 256, 100});
    std::vector<std::vector<float>> out;
    std::vector<MatmulPart> parts;
    for (Problem* p : {&one, &two, &three}) out.emplace_back(static_cast<size_t>(rows * p->w.rows()));
    for (Problem* p : {&one, &two, &three}) {
      parts.push_back({p->w, f32_view(out[parts.size()].data(), {rows, p->w.rows()})});
    }
    matmul_parts(context, one.x(), parts.data(), 3);
    for (size_t i = 0; i < parts.size(); ++i) {
      std::vector<float> alone(out[i].size());
      matmul(context, {one.x(), parts[i].w, f32_view(alone.data(), {rows, parts[i].w.rows()})});
      EXPECT_EQ(out[i], alone) << rows << " rows, part " << i;
    }
  }
}

TEST(Matmul, RefusesAtTheDoor) {
  const Context context(1);
  std::vector<float> x(256), w(256), out(256);
  const auto call = [&](View a, View b, View c) { matmul(context, {a, b, c}); };
  EXPECT_THROW(call(f32_view(x.data(), {2, 8}), f32_view(w.data(), {4, 9}), f32_view(out.data(), {2, 4})), Error);
  EXPECT_THROW(call(f32_view(x.data(), {2, 8}), f32_view(w.data(), {4, 8}), f32_view(out.data(), {2, 5})), Error);
  EXPECT_THROW(call(f32_view(x.data(), {2, 8}), f32_view(w.data(), {4, 8}), f32_view(out.data(), {3, 4})), Error);
  EXPECT_THROW(call(f32_view(x.data(), {1, 48}), View(w.data(), DType::kQ8_0, {2, 48}), f32_view(out.data(), {1, 2})),
               Error);
  EXPECT_THROW(call(f32_view(x.data(), {1, 32}), View(w.data(), DType::kI8, {2, 32}), f32_view(out.data(), {1, 2})),
               Error);
  EXPECT_THROW(call(View(x.data(), DType::kF16, {1, 8}), f32_view(w.data(), {2, 8}), f32_view(out.data(), {1, 2})),
               Error);
}

INSTANTIATE_TEST_SUITE_P(Types, MatmulTest, testing::ValuesIn(kWeightTypes),
                         [](const auto& info) { return std::string(name(info.param)); });

}  // namespace
}  // namespace lowkey
