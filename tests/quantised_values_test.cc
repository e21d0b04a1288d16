// What blocks of the quantised types mean, against the gguf package of Python: tools/make_quant_fixture.py.
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <vector>

#include "formats/gguf.h"
#include "ops/quantize.h"

namespace lowkey {
namespace {

TEST(QuantisedValues, EqualTheGgufPackageBitForBit) {
  const Gguf file = Gguf::open(std::filesystem::path(LOWKEY_SOURCE_DIR) / "tests/data/quantised.gguf");
  int types = 0;
  for (const char* name : {"Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"}) {
    const View *blocks = file.find(name), *values = file.find(std::string(name) + ".values");
    ASSERT_TRUE(blocks != nullptr && values != nullptr) << name;
    ASSERT_TRUE(is_quantised(blocks->dtype)) << name;
    std::vector<float> out(static_cast<size_t>(blocks->columns()));
    for (const auto read : {ref::dequantize_row, dequantize_row}) {
      read(blocks->dtype, blocks->data, out.data(), blocks->columns());
      for (int64_t i = 0; i < blocks->columns(); ++i)
        ASSERT_EQ(std::memcmp(&out[static_cast<size_t>(i)], values->f32() + i, sizeof(float)), 0)
            << name << " at " << i;
    }
    ++types;
  }
  EXPECT_EQ(types, 10);
}

}  // namespace
}  // namespace lowkey
