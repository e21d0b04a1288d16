#include "ops/quantize.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <utility>
#include <vector>

#include "base/half.h"
#include "base/isa.h"

namespace lowkey {
namespace {

// Where the f16 numbers of a block lie.
struct Halves {
  DType type;
  std::vector<size_t> at;
};
const Halves kBlockTypes[] = {{DType::kQ8_0, {0}},   {DType::kQ4_0, {0}},    {DType::kQ4_1, {0, 2}},
                              {DType::kQ5_0, {0}},   {DType::kQ5_1, {0, 2}}, {DType::kQ2_K, {80, 82}},
                              {DType::kQ3_K, {108}}, {DType::kQ4_K, {0, 2}}, {DType::kQ5_K, {0, 2}},
                              {DType::kQ6_K, {208}}};

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

// Half a step, where a step is the block's range (or, without a min, twice its peak) by the number of codes. A code
// opposite to the extreme may be cut by a whole step; f16 scales and scales of few bits stretch a step a little.
TEST(Quantize, ErrsByAStepAtMost) {
  const std::vector<float> x = random_row(4096, 1);
  std::vector<float> back(x.size());
  std::vector<std::byte> bytes(x.size() * 4);
  const std::pair<DType, float> steps[] = {{DType::kQ8_0, 0.502f / 127},
                                           {DType::kQ4_0, 1.002f / 8},
                                           {DType::kQ4_1, 1.01f / 15},
                                           {DType::kQ5_0, 1.002f / 16},
                                           {DType::kQ5_1, 1.01f / 31}};
  for (const auto& [type, step] : steps) {
    quantize_row(type, x.data(), bytes.data(), 4096);
    dequantize_row(type, bytes.data(), back.data(), 4096);
    for (size_t b = 0; b < x.size(); b += 32) {
      float amax = 0;
      for (size_t i = b; i < b + 32; ++i) amax = std::max(amax, std::fabs(x[i]));
      for (size_t i = b; i < b + 32; ++i)
        ASSERT_LE(std::fabs(back[i] - x[i]), step * amax + amax * 0x1p-10f) << name(type) << " at " << i;
    }
  }
  for (DType type : {DType::kF32, DType::kF16, DType::kBF16}) {
    quantize_row(type, x.data(), bytes.data(), 4096);
    dequantize_row(type, bytes.data(), back.data(), 4096);
    const float eps = type == DType::kF32 ? 0 : type == DType::kF16 ? 0x1p-11f : 0x1p-8f;
    for (size_t i = 0; i < x.size(); ++i) ASSERT_LE(std::fabs(back[i] - x[i]), eps * std::fabs(x[i]) + 0x1p-25f);
  }
}

// Of normal numbers, a uniform grid of b bits over 16 to 32 of them leaves less than these parts of the power; each bit
// must bring a factor of 4, less what the scales lose.
TEST(Quantize, LosesLittlePowerInSuperBlocks) {
  const std::vector<float> x = random_row(16384, 3);
  std::vector<float> back(x.size());
  std::vector<std::byte> bytes(x.size() * 4);
  const std::pair<DType, double> most[] = {{DType::kQ2_K, 0.085},
                                           {DType::kQ3_K, 0.034},
                                           {DType::kQ4_K, 0.0065},
                                           {DType::kQ5_K, 0.0017},
                                           {DType::kQ6_K, 0.0005}};
  for (const auto& [type, part] : most) {
    quantize_row(type, x.data(), bytes.data(), 16384);
    dequantize_row(type, bytes.data(), back.data(), 16384);
    double error = 0, power = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      error += (double{back[i]} - x[i]) * (double{back[i]} - x[i]);
      power += double{x[i]} * x[i];
    }
    EXPECT_LE(error / power, part) << name(type);
    EXPECT_GE(error / power, part / 4) << name(type);
  }
}

TEST(Quantize, ReadsTheSameOnEveryInstructionSet) {
  const Isa best = active_isa();
  std::mt19937 random(7);
  const auto check = [&](DType type, std::vector<uint8_t> bytes, int64_t columns) {
    std::vector<float> expected(static_cast<size_t>(columns)), out(expected.size());
    ref::dequantize_row(type, bytes.data(), expected.data(), columns);
    for (Isa isa : {Isa::kBaseline, Isa::kAvx2, Isa::kAvx512}) {
      if (isa > best) continue;
      limit_isa(isa);
      dequantize_row(type, bytes.data(), out.data(), columns);
      for (size_t i = 0; i < out.size(); ++i) {
        const bool same = std::memcmp(&out[i], &expected[i], 4) == 0 || (std::isnan(out[i]) && std::isnan(expected[i]));
        ASSERT_TRUE(same) << name(type) << " " << name(isa) << " at " << i << ": " << out[i] << " " << expected[i];
      }
    }
    limit_isa(best);
  };
  const auto random_bytes = [&](DType type, int64_t columns) {
    std::vector<uint8_t> bytes(static_cast<size_t>(row_bytes(type, columns)));
    for (uint8_t& b : bytes) b = static_cast<uint8_t>(random());
    return bytes;
  };
  for (DType type : {DType::kF32, DType::kF16, DType::kBF16}) check(type, random_bytes(type, 768), 768);
  for (const Halves& halves : kBlockTypes) {
    for (int64_t columns : {768, 800}) {
      if (columns % block_elements(halves.type) != 0) continue;
      std::vector<uint8_t> bytes = random_bytes(halves.type, columns);
      for (size_t b = 0; b < bytes.size(); b += static_cast<size_t>(block_bytes(halves.type)))
        for (size_t at : halves.at) bytes[b + at + 1] &= 0xbf;  // no NaN
      check(halves.type, bytes, columns);
    }
  }
}

TEST(Quantize, SurvivesZerosAndNonsense) {
  uint8_t bytes[272];
  float back[256];
  for (float value : {0.f, 1e-44f, INFINITY, NAN}) {
    const std::vector<float> x(256, value);
    for (const Halves& halves : kBlockTypes) {
      quantize_row(halves.type, x.data(), bytes, 256);
      dequantize_row(halves.type, bytes, back, 256);
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
  EXPECT_THROW(dequantize(context, {View(out, DType::kQ4_0, {1, 64}), View(out, DType::kF16, {1, 64})}), Error);
}

}  // namespace
}  // namespace lowkey
