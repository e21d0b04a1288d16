#include "ops/rotate_heads.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "ops/attention_cases.h"

namespace lowkey {
namespace {

TEST(RotateHeads, IsTheReferenceWithinTheBound) {
  for (Isa isa : supported_isas()) {
    limit_isa(isa);
    for (auto [tokens, heads, kv_heads, dim] :
         {std::array{1, 4, 2, 64}, {3, 3, 1, 48}, {70, 8, 8, 8}, {2, 8, 2, 128}}) {
      const std::vector<float> x = random_normal(int64_t{tokens} * heads * dim, 1);
      std::vector<float> matrix = random_normal(int64_t{kv_heads} * dim * dim, 2);
      const View m{matrix.data(), DType::kF32, {kv_heads, dim, dim}};
      std::vector<float> out = x, exact = x;
      const Context context(2);
      rotate_heads(context, {{out.data(), DType::kF32, {tokens, heads, dim}}, m});
      ref::rotate_heads({{exact.data(), DType::kF32, {tokens, heads, dim}}, m});
      for (size_t i = 0; i < out.size(); ++i) {
        const size_t row = i / static_cast<size_t>(dim), j = i % static_cast<size_t>(dim);
        const size_t head = row % static_cast<size_t>(heads) / static_cast<size_t>(heads / kv_heads);
        double sum = 0;
        for (size_t c = 0; c < static_cast<size_t>(dim); ++c)
          sum += std::abs(double{matrix[(head * static_cast<size_t>(dim) + j) * static_cast<size_t>(dim) + c]} *
                          x[row * static_cast<size_t>(dim) + c]);
        ASSERT_LE(std::abs(out[i] - exact[i]), 0x1p-22 * sum) << name(isa) << ", D " << dim << ", element " << i;
      }
    }
  }
  limit_isa(detected_isa());
}

TEST(RotateHeads, RefusesNonsense) {
  std::vector<float> x(64), matrix(64);
  const Context context(1);
  const auto rotate = [&](std::initializer_list<int64_t> of_x, std::initializer_list<int64_t> of_matrix) {
    rotate_heads(context, {{x.data(), DType::kF32, of_x}, {matrix.data(), DType::kF32, of_matrix}});
  };
  EXPECT_THROW(rotate({1, 1, 12}, {1, 12, 12}), Error);
  EXPECT_THROW(rotate({1, 1, 8}, {1, 8, 4}), Error);
  EXPECT_THROW(rotate({1, 3, 8}, {2, 8, 8}), Error);
  EXPECT_THROW(rotate({8, 8}, {1, 8, 8}), Error);
}

}  // namespace
}  // namespace lowkey
