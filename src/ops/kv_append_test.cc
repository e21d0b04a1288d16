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
    const AttentionCase c{"", 2, 2, 24, std::get<0>(GetParam()), 16, {}};
    TestSequence expected(c, 70, 3, true), sequence(c, 70, 3, true);
    const auto row = static_cast<size_t>(c.kv_heads * c.dim);
    std::vector<float> k(row * size_t(tokens)), v(k.size());
    std::mt19937 random(4);
    for (float& x : k) x = std::bit_cast<float>(static_cast<uint32_t>(random()));  // subnormals, huge ones, NaN
    for (float& x : v) x = std::ldexp(static_cast<float>(random() % 4096) - 2048.f, int(random() % 40) - 28);
    v[0] = std::numeric_limits<float>::infinity(), v[1] = 65519.f, v[2] = 65520.f, v[3] = -0.f;
    const auto view = [&](std::vector<float>& x) { return View{x.data(), DType::kF32, {tokens, 2, 24}}; };
    const Context context(2);
    kv_append(context, {.k = view(k), .v = view(v), .kv = sequence.kv()});
    ref::kv_append({.k = view(k), .v = view(v), .kv = expected.kv()});
    for (int head = 0; head < 2; ++head) {
      for (int64_t t = 0; t < 70; ++t) {
        // A NaN's payload is nobody's business.
        for (int64_t i = 0; i < 48; ++i) {
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
                         testing::Combine(testing::Values(DType::kF32, DType::kF16, DType::kBF16, DType::kI8),
                                          testing::ValuesIn(supported_isas())));

// A row that is read and stored again is the same: its scale has 16 bits, so that no product of it rounds.
TEST(KvAppendBytes, StoredTwiceIsStoredOnce) {
  const AttentionCase c{"", 2, 2, 24, DType::kI8, 16, {}};
  TestSequence sequence(c, 50, 7), again(c, 50, 8);
  for (int64_t t = 0; t < 50; ++t)
    for (int head = 0; head < 2; ++head)
      for (int64_t i = 0; i < 24; ++i) {
        const std::byte* row = sequence.kv().token(head, t);
        const auto at = static_cast<size_t>((t * 2 + head) * 24 + i);
        again.keys()[at] = ref::kv_value(sequence.kv(), row, i);
        again.values()[at] = ref::kv_value(sequence.kv(), row, 24 + i);
        // Half a step of the row's peak, which stands 127 steps from zero.
        const float peak = std::abs(*std::max_element(sequence.keys().begin() + (t * 2 + head) * 24,
                                                      sequence.keys().begin() + (t * 2 + head + 1) * 24,
                                                      [](float a, float b) { return std::abs(a) < std::abs(b); }));
        EXPECT_LE(std::abs(again.keys()[at] - sequence.keys()[at]), peak * (0.5f / 127 + 0x1p-14f));
      }
  again.store();
  for (int64_t t = 0; t < 50; ++t)
    for (int head = 0; head < 2; ++head)
      EXPECT_EQ(std::memcmp(again.kv().token(head, t), sequence.kv().token(head, t),
                            static_cast<size_t>(sequence.kv().token_bytes())),
                0);
}

TEST(KvAppendDoor, RefusesNonsense) {
  const AttentionCase c{"", 2, 2, 24, DType::kF16, 16, {}};
  TestSequence sequence(c, 3, 1);
  std::vector<float> x(4 * 48);
  const Context context(1);
  const View four{x.data(), DType::kF32, {4, 2, 24}}, two{x.data(), DType::kF32, {2, 2, 24}};
  EXPECT_THROW(kv_append(context, {.k = four, .v = four, .kv = sequence.kv()}), Error);
  EXPECT_THROW(kv_append(context, {.k = two, .v = four, .kv = sequence.kv()}), Error);
  EXPECT_NO_THROW(kv_append(context, {.k = two, .v = two, .kv = sequence.kv()}));
}

}  // namespace
}  // namespace lowkey
