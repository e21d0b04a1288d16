#include "formats/safetensors_writer.h"

#include <gtest/gtest.h>

#include <cstring>

#include "base/error.h"
#include "formats/safetensors.h"
#include "formats/test_folder.h"

namespace lowkey {
namespace {

class SafetensorsWriter : public testing::Test {
 protected:
  std::filesystem::path file() const { return folder_ / "x.safetensors"; }

  const TestFolder folder_;
  std::vector<float> floats_{1.5f, -2, 3, 4, 5, 6};
  std::vector<uint16_t> halves_{0x3c00, 0xc000, 0x7bff};
  std::vector<int32_t> numbers_{7, -8};
  std::vector<int8_t> bytes_{1, -1, 2};
  SafetensorsContent content_{.tensors = {{"half", {halves_.data(), DType::kF16, {3}}},
                                          {"bytes", {bytes_.data(), DType::kI8, {3, 1, 1}}},
                                          {"floats", {floats_.data(), DType::kF32, {2, 3}}},
                                          {"none", {nullptr, DType::kF32, {0, 3}}},
                                          {"numbers", {numbers_.data(), DType::kI32, {2}}}},
                              .metadata = {{"format", "test"}, {"quoted \"text\"", "line\nline \xc3\xa9"}}};
};

TEST_F(SafetensorsWriter, IsReadBackAsItWas) {
  write_safetensors(file(), content_);
  const Safetensors read = Safetensors::open(file());
  EXPECT_EQ(read.metadata(), content_.metadata);
  ASSERT_EQ(read.tensors().size(), content_.tensors.size());
  const std::string bytes = folder_.read("x.safetensors");
  for (const auto& [name, written] : content_.tensors) {
    const View* view = read.find(name);
    ASSERT_NE(view, nullptr) << name;
    EXPECT_EQ(view->describe(), written.describe());
    if (written.bytes() > 0) {
      EXPECT_EQ(std::memcmp(view->data, written.data, static_cast<size_t>(written.bytes())), 0) << name;
    }
  }
  uint64_t header = 0;
  std::memcpy(&header, bytes.data(), sizeof header);
  EXPECT_EQ((sizeof header + header) % 64, 0u);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "x.safetensors.partial"));
}

TEST_F(SafetensorsWriter, AFailureLeavesTheOlderFile) {
  write_safetensors(file(), content_);
  const std::string before = folder_.read("x.safetensors");
  content_.tensors["quantised"] = {floats_.data(), DType::kQ8_0, {32}};
  EXPECT_THROW(write_safetensors(file(), content_), Error);
  content_.tensors["quantised"] = {nullptr, DType::kF32, {1}};
  EXPECT_THROW(write_safetensors(file(), content_), Error);
  EXPECT_EQ(folder_.read("x.safetensors"), before);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "x.safetensors.partial"));
  EXPECT_THROW(write_safetensors(folder_ / "nowhere/x.safetensors", {}), Error);
}

TEST_F(SafetensorsWriter, NothingIsAFileToo) {
  write_safetensors(file(), {});
  EXPECT_TRUE(Safetensors::open(file()).tensors().empty());
}

}  // namespace
}  // namespace lowkey
