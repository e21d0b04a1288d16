#include "lab/dram_probe.h"

#include <algorithm>
#include <atomic>
#include <chrono>

namespace lowkey {
namespace {

constexpr int64_t kPiece = 1 << 20;  // bytes handed to a thread at a time
constexpr int kLanes = 16;           // independent sums: two cache lines a step

uint64_t sum_words(const uint64_t* words, int64_t count) noexcept {
  uint64_t sums[kLanes] = {};
  for (int64_t i = 0; i + kLanes <= count; i += kLanes)
    for (int lane = 0; lane < kLanes; ++lane) sums[lane] += words[i + lane];
  uint64_t total = 0;
  for (uint64_t sum : sums) total += sum;
  return total;
}

// Of every group of 16 rows the one that a multiplicative hash of its number says.
int64_t scattered_row(int64_t group) noexcept {
  return group * 16 + static_cast<int64_t>(static_cast<uint64_t>(group) * 0x9e3779b97f4a7c15u >> 60);
}

}  // namespace

DramProbe::DramProbe(const Context& context, int64_t bytes) : context_(context), memory_(static_cast<size_t>(bytes)) {
  context_.threads.split(bytes / 8, kPiece / 8, [&](int64_t begin, int64_t end, int) {
    auto* words = reinterpret_cast<uint64_t*>(memory_.data());
    for (int64_t i = begin; i < end; ++i) words[i] = static_cast<uint64_t>(i);
  });
}

double DramProbe::read() {
  const auto bytes = static_cast<int64_t>(memory_.size());
  std::atomic<uint64_t> sum{0};
  const auto start = std::chrono::steady_clock::now();
  context_.threads.split(bytes / 8, kPiece / 8, [&](int64_t begin, int64_t end, int) {
    sum += sum_words(reinterpret_cast<const uint64_t*>(memory_.data()) + begin, end - begin);
  });
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  sum_ += sum;
  return static_cast<double>(bytes) / seconds.count();
}

double DramProbe::read_rows(int64_t row_bytes) {
  constexpr int64_t kAhead = 8;  // rows
  const int64_t rows = static_cast<int64_t>(memory_.size()) / row_bytes / 16;
  std::atomic<uint64_t> sum{0};
  const auto start = std::chrono::steady_clock::now();
  context_.threads.split(rows, kPiece / row_bytes, [&](int64_t begin, int64_t end, int) {
    uint64_t total = 0;
    for (int64_t i = begin; i < end; ++i) {
      const std::byte* later = memory_.data() + scattered_row(std::min(i + kAhead, end - 1)) * row_bytes;
      for (int64_t byte = 0; byte < row_bytes; byte += static_cast<int64_t>(kCacheLine))
        __builtin_prefetch(later + byte);
      total +=
          sum_words(reinterpret_cast<const uint64_t*>(memory_.data() + scattered_row(i) * row_bytes), row_bytes / 8);
    }
    sum += total;
  });
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  sum_ += sum;
  return static_cast<double>(rows * row_bytes) / seconds.count();
}

}  // namespace lowkey
