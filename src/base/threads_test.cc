#include "base/threads.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>
#include <vector>

#include "base/error.h"

namespace lowkey {
namespace {

TEST(Threads, SplitCoversEverythingOnceInGrains) {
  for (int count : {1, 2, 3, 7}) {
    const Threads threads(count);
    for (int64_t n : {0, 1, 5, 64, 1000}) {
      std::vector<int> hits(static_cast<size_t>(n));
      threads.split(n, 8, [&](int64_t begin, int64_t end, int) {
        EXPECT_EQ(begin % 8, 0);
        for (int64_t i = begin; i < end; ++i) ++hits[static_cast<size_t>(i)];
      });
      for (int h : hits) ASSERT_EQ(h, 1);
    }
  }
}

TEST(Threads, GuidedCoversEverythingOnceInGrains) {
  for (int count : {1, 2, 3, 7}) {
    const Threads threads(count);
    for (int64_t n : {0, 1, 5, 64, 1000}) {
      std::vector<std::atomic<int>> hits(static_cast<size_t>(n));
      threads.guided(n, 8, [&](int64_t begin, int64_t end, int) {
        EXPECT_EQ(begin % 8, 0);
        for (int64_t i = begin; i < end; ++i) ++hits[static_cast<size_t>(i)];
      });
      for (auto& h : hits) ASSERT_EQ(h.load(), 1);
    }
  }
}

TEST(Threads, DynamicCoversEverythingOnce) {
  const Threads threads(4);
  std::vector<std::atomic<int>> hits(1000);
  threads.dynamic(1000, [&](int64_t i, int) { ++hits[static_cast<size_t>(i)]; });
  for (auto& h : hits) ASSERT_EQ(h.load(), 1);
}

TEST(Threads, EachRunsOnceOnEveryThreadAndIsOverWhenItReturns) {
  const Threads threads(4);
  std::vector<int> calls(4);
  for (int round = 0; round < 20000; ++round) {
    threads.each([&](int thread) { ++calls[static_cast<size_t>(thread)]; });
    for (int c : calls) ASSERT_EQ(c, round + 1);
  }
}

TEST(Threads, SleepersWakeUp) {
  const Threads threads(3);
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));  // longer than they stay awake
    std::atomic<int> calls{0};
    threads.each([&](int) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      ++calls;
    });
    ASSERT_EQ(calls.load(), 3);
  }
}

// Many more threads than cores: whoever takes a part, it is done once, in its own turn, before the region is over.
TEST(Threads, PartsThatTheCallerTakesAreDoneOnce) {
  const Threads threads(16);
  std::vector<int> calls(16);
  for (int round = 0; round < 500; ++round) {
    threads.each([&](int thread) { calls[static_cast<size_t>(thread)] += round; });
    if (round % 50 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  for (int c : calls) EXPECT_EQ(c, 499 * 500 / 2);
}

TEST(Threads, RefusesNonsense) {
  EXPECT_THROW(Threads(-1), Error);
  EXPECT_THROW(Threads(100000), Error);
}

}  // namespace
}  // namespace lowkey
