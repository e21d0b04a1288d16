#include "attention/atp_packed.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "kv/cache.h"
#include "ops/quantize.h"

namespace lowkey {
namespace {

// A cache of one layer and 3 KV heads that holds 30 tokens in pages of 4.
struct OneSequence {
  OneSequence(DType type, int64_t head_dim)
      : cache({.layers = 1,
               .kv_heads = 3,
               .head_dim = head_dim,
               .dtype = type,
               .page_tokens = 4,
               .max_tokens = 64,
               .plane_bytes = {}}) {
    const auto id = cache.open();
    EXPECT_TRUE(cache.grow(id, 30));
    kv = cache.pages(id, 0);
  }

  KvCache cache;
  KvPages kv;
};

TEST(PackedRows, LieAcrossHeadsRowsAndPages) {
  for (DType type : {DType::kF16, DType::kF32}) {
    const OneSequence sequence(type, 8);
    const KvPages& kv = sequence.kv;
    for (int64_t numbers : {1, 5, 16, 29, 48}) {
      const PackedRows packed{kv, 2, {numbers}};
      const int64_t count = 28 * 48 / numbers;
      EXPECT_EQ(PackedRows::cache_rows(count, {numbers}, 48), numbers == 29 ? 28 : (count * numbers + 47) / 48);
      const auto value = [&](int64_t i, int64_t j) { return static_cast<float>((i * numbers + j) % 2000); };
      std::vector<float> z(static_cast<size_t>(numbers));
      for (int64_t i = 0; i < count; ++i) {
        for (int64_t j = 0; j < numbers; ++j) z[static_cast<size_t>(j)] = value(i, j);
        packed.write(i, z.data(), numbers);
      }
      for (int64_t i = 0; i < count; ++i) {
        packed.read(i, z.data(), numbers);
        for (int64_t j = 0; j < numbers; ++j) ASSERT_EQ(z[static_cast<size_t>(j)], value(i, j)) << i << ", " << j;
      }
    }
  }
}

TEST(PackedRows, InFewerBitsAreBlocksOfQuantisedNumbers) {
  EXPECT_EQ((PackedFormat{256, 8}.bytes()), 8 * 34);
  EXPECT_EQ((PackedFormat{352, 4}.bytes()), 3 * 34 + 8 * 18);  // 11 blocks, a quarter of them rounded up
  EXPECT_EQ((PackedFormat{20, 4}.bytes()), 34);
  for (DType type : {DType::kF16, DType::kF32}) {
    const OneSequence sequence(type, 16);
    const KvPages& kv = sequence.kv;
    for (const PackedFormat& format : {PackedFormat{96, 8}, PackedFormat{96, 4}, PackedFormat{80, 4}}) {
      const PackedRows packed{kv, 2, format};
      const int64_t count = 28 * 96 * 2 / format.bytes();
      ASSERT_LE(PackedRows::cache_rows(count, format, 96), 28);
      const auto value = [&](int64_t i, int64_t j) { return std::sin(static_cast<float>(i * 96 + j)) / (1 + j); };
      std::vector<float> z(static_cast<size_t>(format.numbers));
      for (int64_t i = 0; i < count; ++i) {
        for (int64_t j = 0; j < format.numbers; ++j) z[static_cast<size_t>(j)] = value(i, j);
        packed.write(i, z.data(), format.numbers);
      }
      for (int64_t i = 0; i < count; ++i) {
        packed.read(i, z.data(), format.numbers);
        for (int64_t begin = 0; begin < format.numbers; begin += kQuantBlock) {
          const DType block_type = format.bits == 8 || begin == 0 ? DType::kQ8_0 : DType::kQ4_0;
          float expected[kQuantBlock] = {};
          std::byte block[34];
          for (int64_t j = begin; j < std::min<int64_t>(begin + kQuantBlock, format.numbers); ++j)
            expected[j - begin] = value(i, j);
          ref::quantize_row(block_type, expected, block, kQuantBlock);
          ref::dequantize_row(block_type, block, expected, kQuantBlock);
          for (int64_t j = begin; j < std::min<int64_t>(begin + kQuantBlock, format.numbers); ++j)
            ASSERT_EQ(z[static_cast<size_t>(j)], expected[j - begin]) << i << ", " << j;
        }
      }
    }
  }
}

}  // namespace
}  // namespace lowkey
