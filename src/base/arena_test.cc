#include "base/arena.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace lowkey {
namespace {

TEST(HugeBuffer, IsZeroedAndAligned) {
  HugeBuffer buffer(size_t{5} << 20);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % (size_t{2} << 20), 0u);
  for (size_t i = 0; i < buffer.size(); i += 4096) ASSERT_EQ(buffer.data()[i], std::byte{0});
}

TEST(HugeBuffer, RefusesTheImpossibleWithOutOfMemory) {
  try {
    HugeBuffer buffer(size_t{1} << 60);
    FAIL() << "an exabyte was granted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kOutOfMemory);
  }
}

TEST(Scratch, FramesGiveBackWhatTheyTook) {
  Scratch scratch;
  float* first = nullptr;
  for (int round = 0; round < 3; ++round) {
    Scratch::Frame frame(scratch);
    float* a = frame.take<float>(1000);
    if (round == 0) first = a;
    EXPECT_EQ(a, first);
    {
      Scratch::Frame inner(scratch);
      EXPECT_NE(inner.take<float>(5 << 20), a);  // larger than a block: a block of its own
    }
    EXPECT_EQ(reinterpret_cast<uintptr_t>(frame.take<char>(1)) % kCacheLine, 0u);
  }
  const size_t warm = scratch.capacity();
  {
    Scratch::Frame frame(scratch);
    frame.take<float>(1000);
    frame.take<float>(5 << 20);
  }
  EXPECT_EQ(scratch.capacity(), warm) << "a warm scratch must not grow";
}

}  // namespace
}  // namespace lowkey
