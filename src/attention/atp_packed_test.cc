#include "attention/atp_packed.h"

#include <gtest/gtest.h>

#include <vector>

#include "kv/cache.h"

namespace lowkey {
namespace {

TEST(PackedRows, LieAcrossHeadsRowsAndPages) {
  for (DType type : {DType::kF16, DType::kF32}) {
    KvCache cache({.layers = 1,
                   .kv_heads = 3,
                   .head_dim = 8,
                   .dtype = type,
                   .page_tokens = 4,
                   .max_tokens = 64,
                   .plane_bytes = {}});
    const auto id = cache.open();
    ASSERT_TRUE(cache.grow(id, 30));
    const KvPages kv = cache.pages(id, 0);
    for (int64_t numbers : {1, 5, 16, 29, 48}) {
      const PackedRows packed{kv, 2, numbers};
      const int64_t count = 28 * 48 / numbers;
      EXPECT_EQ(PackedRows::cache_rows(count, numbers, 48), numbers == 29 ? 28 : (count * numbers + 47) / 48);
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

}  // namespace
}  // namespace lowkey
