#include "ops/quantize.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "base/half.h"
#include "base/isa.h"

namespace lowkey {
namespace {

constexpr DType kStored[] = {DType::kF32, DType::kF16, DType::kBF16, DType::kQ8_0, DType::kQ4_0};

std::vector<float> random_row(int64_t n, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<size_t>(n));
  for (float& v : x) v = normal(random);
  return x;
}

TEST(Quantize, WritesTheBytesOfTheFormat) {
  std::vector<float> x(32, 0.f);
  x[0] = 127.f, x[1] = -1.5f, x[2] = 0.49f, x[31] = -127.f;
  uint8_t q8[34];
  quantize_row(DType::kQ8_0, x.data(), q8, 32);
  EXPECT_EQ(q8[0] | q8[1] << 8, f32_to_f16(1.f));
  EXPECT_EQ(static_cast<int8_t>(q8[2]), 127);
  EXPECT_EQ(static_cast<int8_t>(q8[3]), -2);  // halves away from zero
  EXPECT_EQ(static_cast<int8_t>(q8[4]), 0);
  EXPECT_EQ(static_cast<int8_t>(q8[33]), -127);

  x.assign(32, 0.f);
  x[0] = -8.f, x[1] = 7.f, x[16] = 3.4f, x[17] = 8.f;
  uint8_t q4[18];
  quantize_row(DType::kQ4_0, x.data(), q4, 32);
  EXPECT_EQ(q4[0] | q4[1] << 8, f32_to_f16(1.f));
  EXPECT_EQ(q4[2], 0 | 11 << 4);   // -8 and 3.4
  EXPECT_EQ(q4[3], 15 | 15 << 4);  // 7, and 8 cut to 7
  EXPECT_EQ(q4[4], 8 | 8 << 4);
}

TEST(Quantize, ErrsByHalfAStepAtMost) {
  const std::vector<float> x = random_row(4096, 1);
  std::vector<float> back(x.size());
  std::vector<std::byte> bytes(x.size() * 4);
  for (DType type : kStored) {
    quantize_row(type, x.data(), bytes.data(), 4096);
    dequantize_row(type, bytes.data(), back.data(), 4096);
    for (size_t b = 0; b < x.size(); b += 32) {
      float amax = 0;
      for (size_t i = b; i < b + 32; ++i) amax = std::max(amax, std::fabs(x[i]));
      for (size_t i = b; i < b + 32; ++i) {
        // q4_0 may cut the value opposite to the extreme by a whole step; its and q8_0's d is rounded to f16.
        const float step = type == DType::kQ8_0 ? amax / 127 : amax / 8;
        const float bound = type == DType::kF32    ? 0
                            : type == DType::kF16  ? std::fabs(x[i]) * 0x1p-11f + 0x1p-25f
                            : type == DType::kBF16 ? std::fabs(x[i]) * 0x1p-8f
                            : type == DType::kQ8_0 ? step / 2 + amax * 0x1p-10f
                                                   : step + amax * 0x1p-10f;
        ASSERT_LE(std::fabs(back[i] - x[i]), bound) << name(type) << " at " << i;
      }
    }
  }
}

TEST(Quantize, ReadsTheSameOnEveryInstructionSet) {
  const Isa best = active_isa();
  std::mt19937 random(7);
  for (DType type : {DType::kF32, DType::kF16, DType::kBF16, DType::kQ8_0, DType::kQ4_0, DType::kQ6_K}) {
    constexpr int64_t kColumns = 768;
    std::vector<uint8_t> bytes(static_cast<size_t>(row_bytes(type, kColumns)));
    for (uint8_t& b : bytes) b = static_cast<uint8_t>(random());
    if (is_quantised(type)) {  // a scale that is no NaN
      const size_t size = block_bytes(type), at = type == DType::kQ6_K ? 208 : 0;
      for (size_t i = at; i + 1 < bytes.size(); i += size) bytes[i + 1] &= 0x3f;
    }
    std::vector<float> expected(kColumns), out(kColumns);
    ref::dequantize_row(type, bytes.data(), expected.data(), kColumns);
    for (Isa isa : {Isa::kBaseline, Isa::kAvx2, Isa::kAvx512}) {
      if (isa > best) continue;
      limit_isa(isa);
      dequantize_row(type, bytes.data(), out.data(), kColumns);
      for (int64_t i = 0; i < kColumns; ++i) {
        ASSERT_TRUE(out[i] == expected[i] || (std::isnan(out[i]) && std::isnan(expected[i])))
            << name(type) << " " << name(isa) << " at " << i << ": " << out[i] << " " << expected[i];
      }
    }
    limit_isa(best);
  }
}

TEST(Quantize, SurvivesZerosAndNonsense) {
  uint8_t bytes[34];
  float back[32];
  for (float value : {0.f, 1e-44f, INFINITY, NAN}) {
    const std::vector<float> x(32, value);
    for (DType type : {DType::kQ8_0, DType::kQ4_0}) {
      quantize_row(type, x.data(), bytes, 32);
      dequantize_row(type, bytes, back, 32);
      if (value < 1) {
        EXPECT_EQ(back[0], 0.f);
      }
    }
  }
}

TEST(Quantize, RefusesAtTheDoor) {
  const Context context(1);
  float x[64];
  std::byte out[256];
  EXPECT_THROW(quantize(context, {f32_view(x, {1, 48}), View(out, DType::kQ8_0, {1, 48})}), Error);
  EXPECT_THROW(quantize(context, {f32_view(x, {1, 64}), View(out, DType::kQ8_0, {2, 32})}), Error);
  EXPECT_THROW(quantize(context, {f32_view(x, {1, 64}), View(out, DType::kI8, {1, 64})}), Error);
  EXPECT_THROW(quantize(context, {f32_view(x, {1, 256}), View(out, DType::kQ6_K, {1, 256})}), Error);
  EXPECT_THROW(dequantize(context, {View(out, DType::kQ4_0, {1, 64}), View(out, DType::kF16, {1, 64})}), Error);
}

}  // namespace
}  // namespace lowkey
