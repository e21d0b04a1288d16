#include "ops/kv_append.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "ops/attention_cases.h"
#include "ops/ref/kv_value.h"

namespace lowkey {
namespace {

class KvAppend : public testing::TestWithParam<std::tuple<DType, Isa>> {
 protected:
  void SetUp() override { limit_isa(std::get<1>(GetParam())); }
  void TearDown() override { limit_isa(detected_isa()); }
};

// Conversions are exact or correctly rounded: the bytes are those of the reference, the odd numbers included.
TEST_P(KvAppend, EqualsTheReferenceBitForBit) {
  for (int64_t tokens : {1, 5, 70}) {
    const AttentionCase c{"", 2, 2, 48, std::get<0>(GetParam()), 16, {}};
    TestSequence expected(c, 70, 3, true), sequence(c, 70, 3, true);
    const auto row = static_cast<size_t>(c.kv_heads * c.dim);
    std::vector<float> k(row * size_t(tokens)), v(k.size());
    std::mt19937 random(4);
    for (float& x : k) x = std::bit_cast<float>(static_cast<uint32_t>(random()));  // subnormals, huge ones, NaN
    for (float& x : v) x = std::ldexp(static_cast<float>(random() % 4096) - 2048.f, int(random() % 40) - 28);
    v[0] = std::numeric_limits<float>::infinity(), v[1] = 65519.f, v[2] = 65520.f, v[3] = -0.f;
    const auto view = [&](std::vector<float>& x) { return View{x.data(), DType::kF32, {tokens, 2, 48}}; };
    const Context context(2);
    kv_append(context, {.k = view(k), .v = view(v), .kv = sequence.kv()});
    ref::kv_append({.k = view(k), .v = view(v), .kv = expected.kv()});
    for (int head = 0; head < 2; ++head) {
      for (int64_t t = 0; t < 70; ++t) {
        // A NaN's payload is nobody's business.
        for (int64_t i = 0; i < 96; ++i) {
          const float a = ref::kv_value(sequence.kv(), sequence.kv().token(head, t), i);
          const float b = ref::kv_value(expected.kv(), expected.kv().token(head, t), i);
          ASSERT_TRUE(std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b) || (std::isnan(a) && std::isnan(b)))
              << "head " << head << ", token " << t << ", element " << i << ": " << a << " and " << b;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, KvAppend,
                         testing::Combine(testing::Values(DType::kF32, DType::kF16, DType::kBF16, DType::kI8,
                                                          DType::kI8I4),
                                          testing::ValuesIn(supported_isas())));

class KvAppendBytes : public testing::TestWithParam<DType> {};

// A row that is read and stored again is the same: its scales have 16 bits, so that no product of them rounds.
TEST_P(KvAppendBytes, StoredTwiceIsStoredOnce) {
  const AttentionCase c{"", 2, 2, 48, GetParam(), 16, {}};
  TestSequence sequence(c, 50, 7), again(c, 50, 8);
  for (int64_t row = 0; row < 100; ++row) {
    const std::byte* stored = sequence.kv().token(static_cast<int>(row % 2), row / 2);
    const auto begin = row * c.dim, end = begin + c.dim;
    const auto [least_key, most_key] =
        std::minmax_element(sequence.keys().begin() + begin, sequence.keys().begin() + end);
    const auto [least, most] = std::minmax_element(sequence.values().begin() + begin, sequence.values().begin() + end);
    // Half a step: of the peak, which stands 127 steps from zero; of the range in 15 steps.
    const float key_step = std::max(-*least_key, *most_key) / 127, range_step = (*most - *least) / 15;
    const float step = GetParam() == DType::kI8 ? std::max(-*least, *most) / 127 : range_step;
    for (int64_t i = 0; i < c.dim; ++i) {
      const auto at = static_cast<size_t>(begin + i);
      again.keys()[at] = ref::kv_value(sequence.kv(), stored, i);
      again.values()[at] = ref::kv_value(sequence.kv(), stored, c.dim + i);
      EXPECT_LE(std::abs(again.keys()[at] - sequence.keys()[at]), key_step * (0.5f + 0x1p-7f));
      EXPECT_LE(std::abs(again.values()[at] - sequence.values()[at]), step * (0.5f + 0x1p-7f));
    }
  }
  again.store();
  for (int64_t t = 0; t < 50; ++t)
    for (int head = 0; head < 2; ++head)
      EXPECT_EQ(std::memcmp(again.kv().token(head, t), sequence.kv().token(head, t),
                            static_cast<size_t>(sequence.kv().token_bytes())),
                0);
}

INSTANTIATE_TEST_SUITE_P(Types, KvAppendBytes, testing::Values(DType::kI8, DType::kI8I4));

TEST(KvAppendDoor, RefusesNonsense) {
  const AttentionCase c{"", 2, 2, 24, DType::kF16, 16, {}};
  TestSequence sequence(c, 3, 1);
  std::vector<float> x(4 * 48);
  const Context context(1);
  const View four{x.data(), DType::kF32, {4, 2, 24}}, two{x.data(), DType::kF32, {2, 2, 24}};
  EXPECT_THROW(kv_append(context, {.k = four, .v = four, .kv = sequence.kv()}), Error);
  EXPECT_THROW(kv_append(context, {.k = two, .v = four, .kv = sequence.kv()}), Error);
  EXPECT_NO_THROW(kv_append(context, {.k = two, .v = two, .kv = sequence.kv()}));
  // Each half of values in 4 bits is whole vectors of 8.
  KvPages halves = sequence.kv();
  halves.dtype = DType::kI8I4;
  EXPECT_THROW(kv_append(context, {.k = two, .v = two, .kv = halves}), Error);
}

}  // namespace
}  // namespace lowkey
