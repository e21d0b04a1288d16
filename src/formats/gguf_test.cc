#include "formats/gguf.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>

#include "formats/gguf_writer.h"
#include "formats/test_folder.h"

namespace lowkey {
namespace {

std::vector<std::byte> counting_bytes(size_t n) {
  std::vector<std::byte> bytes(n);
  for (size_t i = 0; i < n; ++i) bytes[i] = static_cast<std::byte>(i * 7);
  return bytes;
}

constexpr int64_t kVector[] = {5}, kMatrix[] = {2, 64}, kSuper[] = {3, 256};

void write_small(const std::filesystem::path& path) {
  GgufWriter writer(path);
  writer.set("general.architecture", "llama");
  writer.set("count", 7u);
  writer.set("scale", 0.5f);
  writer.set("flag", true);
  writer.set("words", std::vector<std::string>{"a", "", "b c"});
  writer.set("ids", std::vector<int32_t>{-1, 2});
  writer.set("weights", std::vector<float>{1.5f});
  writer.announce("norm", DType::kF32, kVector);
  writer.announce("q8", DType::kQ8_0, kMatrix);
  writer.announce("q6", DType::kQ6_K, kSuper);
  writer.write("norm", counting_bytes(20));
  writer.write("q8", counting_bytes(2 * 2 * 34));
  writer.write("q6", counting_bytes(3 * 210));
  writer.finish();
}

TEST(Gguf, WhatIsWrittenIsRead) {
  const TestFolder folder;
  write_small(folder / "small.gguf");
  EXPECT_FALSE(std::filesystem::exists(folder / "small.gguf.partial"));
  const Gguf file = Gguf::open(folder / "small.gguf");
  EXPECT_EQ(file.version(), 3);
  EXPECT_EQ(file.text("general.architecture", ""), "llama");
  EXPECT_EQ(file.integer("count", 0), 7);
  EXPECT_EQ(file.number("scale", 0), 0.5);
  EXPECT_EQ(file.number("count", 0), 7.0);
  EXPECT_TRUE(file.boolean("flag", false));
  EXPECT_EQ(*file.texts("words"), (std::vector<std::string>{"a", "", "b c"}));
  EXPECT_EQ(file.integers("ids"), (std::vector<int64_t>{-1, 2}));
  EXPECT_EQ(file.numbers("weights"), std::vector<double>{1.5});
  ASSERT_EQ(file.tensors().size(), 3u);
  EXPECT_EQ(file.find("norm")->describe(), "f32[5]");
  EXPECT_EQ(file.find("q8")->describe(), "q8_0[2, 64]");
  EXPECT_EQ(file.find("q6")->describe(), "q6_k[3, 256]");
  for (const GgufTensor& tensor : file.tensors()) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.view.data) % 32, 0u);
    const auto expected = counting_bytes(static_cast<size_t>(tensor.view.bytes()));
    EXPECT_EQ(std::memcmp(tensor.view.data, expected.data(), expected.size()), 0) << tensor.name;
  }
  EXPECT_EQ(file.find("absent"), nullptr);
  EXPECT_NO_THROW(file.check_unchanged());
}

TEST(Gguf, IsTheSameReadIntoMemoryAndThenNeedsNoFile) {
  const TestFolder folder;
  write_small(folder / "small.gguf");
  const Gguf file = Gguf::open(folder / "small.gguf", FilePlace::kMemory);
  std::filesystem::resize_file(folder / "small.gguf", 100);
  EXPECT_NO_THROW(file.check_unchanged());
  ASSERT_EQ(file.tensors().size(), 3u);
  for (const GgufTensor& tensor : file.tensors()) {
    const auto expected = counting_bytes(static_cast<size_t>(tensor.view.bytes()));
    EXPECT_EQ(std::memcmp(tensor.view.data, expected.data(), expected.size()), 0) << tensor.name;
  }
  EXPECT_THROW(Gguf::open(folder / "absent.gguf", FilePlace::kMemory), Error);
}

TEST(Gguf, LookUpsRefuseAnotherType) {
  const TestFolder folder;
  write_small(folder / "small.gguf");
  const Gguf file = Gguf::open(folder / "small.gguf");
  EXPECT_THROW(file.integer("flag", 0), Error);
  EXPECT_THROW(file.integer("scale", 0), Error);
  EXPECT_THROW(file.number("words", 0), Error);
  EXPECT_THROW(file.boolean("count", false), Error);
  EXPECT_THROW(file.text("count", ""), Error);
  EXPECT_THROW(file.texts("ids"), Error);
  EXPECT_THROW(file.integers("weights"), Error);
  EXPECT_THROW(file.numbers("ids"), Error);
  EXPECT_EQ(file.integer("absent", 11), 11);
  EXPECT_EQ(file.texts("absent"), nullptr);
}

TEST(Gguf, EveryTruncationIsAnError) {
  const TestFolder folder;
  write_small(folder / "small.gguf");
  std::string bytes = folder.read("small.gguf");
  bytes.resize(bytes.size() - 10);  // the padding after the last tensor, which a file may lack
  ASSERT_NO_THROW(Gguf::parse(std::as_bytes(std::span(bytes)), "whole"));
  for (size_t n = 0; n < bytes.size(); ++n) {
    const std::vector<char> cut(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n));  // exact, for ASan
    EXPECT_THROW(Gguf::parse(std::as_bytes(std::span(cut)), "cut"), Error) << "first " << n << " bytes";
  }
}

TEST(Gguf, NoticesThatTheFileBecameShorter) {
  const TestFolder folder;
  write_small(folder / "small.gguf");
  const Gguf file = Gguf::open(folder / "small.gguf");
  std::filesystem::resize_file(folder / "small.gguf", 100);
  EXPECT_THROW(file.check_unchanged(), Error);
}

TEST(GgufWriter, AnUnfinishedFileDoesNotAppear) {
  const TestFolder folder;
  {
    GgufWriter writer(folder / "half.gguf");
    writer.announce("norm", DType::kF32, kVector);
    EXPECT_THROW(writer.finish(), Error);
  }
  EXPECT_TRUE(folder.empty());
}

TEST(GgufWriter, RefusesMisuse) {
  const TestFolder folder;
  EXPECT_THROW(GgufWriter(folder / "no/such/folder.gguf"), Error);
  GgufWriter writer(folder / "x.gguf");
  writer.set("key", 1u);
  EXPECT_THROW(writer.set("key", 2u), Error);
  EXPECT_THROW(writer.set("", 2u), Error);
  writer.announce("a", DType::kF32, kVector);
  EXPECT_THROW(writer.announce("a", DType::kF32, kVector), Error);
  EXPECT_THROW(writer.announce("b", DType::kQ8_0, kVector), Error);
  EXPECT_THROW(writer.announce(std::string(65, 'x'), DType::kF32, kVector), Error);
  EXPECT_THROW(writer.write("b", counting_bytes(20)), Error);
  EXPECT_THROW(writer.write("a", counting_bytes(19)), Error);
  writer.write("a", counting_bytes(20));
  EXPECT_THROW(writer.set("late", 1u), Error);
  EXPECT_THROW(writer.announce("late", DType::kF32, kVector), Error);
  EXPECT_THROW(writer.write("a", counting_bytes(20)), Error);
  EXPECT_NO_THROW(writer.finish());
}

}  // namespace
}  // namespace lowkey
