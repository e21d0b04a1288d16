#include "formats/safetensors.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "base/half.h"
#include "formats/test_folder.h"

namespace lowkey {
namespace {

namespace fs = std::filesystem;

std::string file_of(const std::string& header, const std::string& data) {
  const uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof length) + header + data;
}

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

const std::string kSmall = file_of(
    R"({"__metadata__":{"k":"v"},"a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]},)"
    R"("b":{"dtype":"BF16","shape":[2,1],"data_offsets":[12,16]},"none":{"dtype":"F16","shape":[0,4],"data_offsets":[16,16]},)"
    R"("scalar":{"dtype":"I8","shape":[],"data_offsets":[16,17]}}   )",
    std::string("\0\0\x80\x3f\0\0\0\x40\0\0\x40\x40 abcd", 16) + "\5");

TEST(Safetensors, ReadsTensorsAndMetadata) {
  const Safetensors file = Safetensors::parse(bytes_of(kSmall), "small");
  ASSERT_EQ(file.tensors().size(), 4u);
  EXPECT_EQ(file.metadata().at("k"), "v");
  EXPECT_EQ(file.find("a")->describe(), "f32[3]");
  EXPECT_EQ(file.find("a")->f32()[2], 3.0f);
  EXPECT_EQ(file.find("b")->describe(), "bf16[2, 1]");
  EXPECT_EQ(file.find("none")->elements(), 0);
  EXPECT_EQ(file.find("scalar")->describe(), "i8[1]");
  EXPECT_EQ(file.find("absent"), nullptr);
}

TEST(Safetensors, WholeNumbersOf64BitsAreCheckedAndLeftOut) {
  const auto file = [](const char* end, size_t bytes) {
    return file_of(std::string(R"({"position_ids":{"dtype":"I64","shape":[1,2],"data_offsets":[0,)") + end + "]}}",
                   std::string(bytes, 'x'));
  };
  const std::string good = file("16", 16), small = file("8", 8), cut = file("16", 8);
  EXPECT_TRUE(Safetensors::parse(bytes_of(good), "good").tensors().empty());
  EXPECT_THROW(Safetensors::parse(bytes_of(small), "small"), Error);
  EXPECT_THROW(Safetensors::parse(bytes_of(cut), "cut"), Error);
}

TEST(Safetensors, EightBitFloatsAreWidenedAndScaled) {
  const auto file = [](const std::string& scale_name, const std::string& shape, const std::vector<float>& scales) {
    std::string data("\x38\xb8\x00\x01\x7e\x7f", 6);  // 1, -1, 0, the least, the most, NaN
    const std::string header = R"({"w":{"dtype":"F8_E4M3","shape":[2,3],"data_offsets":[0,6]},")" + scale_name +
                               R"(":{"dtype":"F32","shape":)" + shape + R"(,"data_offsets":[6,)" +
                               std::to_string(6 + 4 * scales.size()) + "]}}";
    data.append(reinterpret_cast<const char*>(scales.data()), 4 * scales.size());
    return file_of(header, data);
  };
  const auto values = [](const std::string& bytes) {
    const Safetensors file = Safetensors::parse(bytes_of(bytes), "f8");
    EXPECT_EQ(file.find("w")->describe(), "bf16[2, 3]");
    std::vector<float> out;
    for (int i = 0; i < 6; ++i) out.push_back(bf16_to_f32(reinterpret_cast<const uint16_t*>(file.find("w")->data)[i]));
    EXPECT_TRUE(std::isnan(out.back()));
    out.pop_back();
    return out;
  };
  EXPECT_EQ(values(file("other", "[1]", {2})), (std::vector<float>{1, -1, 0, 0x1p-9f, 448}));
  EXPECT_EQ(values(file("w_scale", "[]", {2})), (std::vector<float>{2, -2, 0, 0x1p-8f, 896}));
  EXPECT_EQ(values(file("w_scale", "[2,1]", {2, 0.5})), (std::vector<float>{2, -2, 0, 0x1p-10f, 224}));
  EXPECT_EQ(values(file("w_scale_inv", "[1,1]", {4})), (std::vector<float>{4, -4, 0, 0x1p-7f, 1792}));
  const std::string bad = file("w_scale_inv", "[3]", {1, 2, 3});
  EXPECT_THROW(Safetensors::parse(bytes_of(bad), "bad"), Error);
}

TEST(Safetensors, EightBitFloatsUseAGridOf128) {
  const int64_t rows = 130, columns = 200;
  std::string data(rows * columns, '\x38');
  const float scales[] = {1, 2, 3, 4};
  data.append(reinterpret_cast<const char*>(scales), sizeof scales);
  const std::string bytes = file_of(R"({"w":{"dtype":"F8_E4M3","shape":[130,200],"data_offsets":[0,26000]},)"
                                    R"("w_scale_inv":{"dtype":"F32","shape":[2,2],"data_offsets":[26000,26016]}})",
                                    data);
  const Safetensors file = Safetensors::parse(bytes_of(bytes), "f8");
  const auto* w = reinterpret_cast<const uint16_t*>(file.find("w")->data);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c)
      ASSERT_EQ(bf16_to_f32(w[r * columns + c]), scales[r / 128 * 2 + c / 128]) << r << " " << c;
}

TEST(Safetensors, AlignsWhatLiesAskew) {
  for (int spaces = 0; spaces < 8; ++spaces) {
    const std::string bytes = file_of(
        R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})" + std::string(static_cast<size_t>(spaces), ' '),
        std::string("\0\0\x80\x3f", 4));
    const Safetensors file = Safetensors::parse(bytes_of(bytes), "askew");
    EXPECT_EQ(reinterpret_cast<uintptr_t>(file.find("a")->data) % 4, 0u);
    EXPECT_EQ(*file.find("a")->f32(), 1.0f);
  }
}

TEST(Safetensors, EveryTruncationIsAnError) {
  for (size_t n = 0; n < kSmall.size(); ++n) {
    const std::vector<char> cut(kSmall.begin(), kSmall.begin() + static_cast<std::ptrdiff_t>(n));  // exact, for ASan
    EXPECT_THROW(Safetensors::parse(std::as_bytes(std::span(cut)), "cut"), Error) << "first " << n << " bytes";
  }
}

std::string one_tensor(const std::string& name) {
  return file_of("{\"" + name + R"(":{"dtype":"I8","shape":[1],"data_offsets":[0,1]}})", "x");
}

class Shards : public testing::Test {
 protected:
  void index(const std::string& weight_map) const {
    folder_.write("model/model.safetensors.index.json", R"({"weight_map":{)" + weight_map + "}}");
  }
  Safetensors open() const { return Safetensors::open(folder_ / "model"); }

  const TestFolder folder_;
};

TEST_F(Shards, AreJoined) {
  folder_.write("model/1.safetensors", one_tensor("a"));
  folder_.write("model/2.safetensors", one_tensor("b"));
  index(R"("a":"1.safetensors","b":"2.safetensors")");
  EXPECT_EQ(open().tensors().size(), 2u);
}

TEST_F(Shards, MustAgreeWithTheIndex) {
  folder_.write("model/1.safetensors", one_tensor("a"));
  folder_.write("model/2.safetensors", one_tensor("a"));
  index(R"("a":"1.safetensors","b":"2.safetensors")");
  EXPECT_THROW(open(), Error) << "one tensor in two shards";
  index(R"("b":"1.safetensors")");
  EXPECT_THROW(open(), Error) << "not in the shard";
  index(R"("a":"3.safetensors")");
  EXPECT_THROW(open(), Error) << "no such shard";
}

TEST_F(Shards, LinksMayNotLeaveTheFolder) {
  folder_.write("outside.safetensors", one_tensor("a"));
  folder_.write("model/inside.safetensors", one_tensor("a"));
  index(R"("a":"link.safetensors")");
  fs::create_symlink("inside.safetensors", folder_ / "model/link.safetensors");
  EXPECT_EQ(open().tensors().size(), 1u);
  fs::remove(folder_ / "model/link.safetensors");
  fs::create_symlink("../outside.safetensors", folder_ / "model/link.safetensors");
  EXPECT_THROW(open(), Error);
}

TEST(SafetensorsCache, ADownloadCacheLinksToItsBlobs) {
  const TestFolder folder;
  folder.write("models--x/blobs/0123", one_tensor("a"));
  folder.write("models--x/snapshots/main/model.safetensors.index.json", R"({"weight_map":{"a":"1.safetensors"}})");
  fs::create_symlink("../../blobs/0123", folder / "models--x/snapshots/main/1.safetensors");
  EXPECT_EQ(Safetensors::open(folder / "models--x/snapshots/main").tensors().size(), 1u);
}

TEST(Safetensors, ReadsARealFolder) {
  const fs::path model = fs::path(LOWKEY_SOURCE_DIR) / "../shared/models/demo-12m";
  if (!fs::exists(model)) GTEST_SKIP() << model << " is not there";
  const Safetensors file = Safetensors::open(model);
  ASSERT_NE(file.find("model.embed_tokens.weight"), nullptr);
  EXPECT_EQ(file.find("model.embed_tokens.weight")->describe(), "bf16[8192, 384]");
  EXPECT_NO_THROW(file.check_unchanged());
}

}  // namespace
}  // namespace lowkey
