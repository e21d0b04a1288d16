// Rows of a light elementwise operation: shared among the threads only when there is enough of them to
// pay for waking the threads (some microseconds).
#pragma once

#include "base/threads.h"

namespace lowkey {

inline constexpr int64_t kElementsWorthThreads = 32768;  // about 5 us of streaming through the L2 cache

// f(begin, end): rows [begin, end).
template <typename F>
void share_rows(const Threads& threads, int64_t rows, int64_t columns, F&& f) noexcept {
  if (rows * columns < kElementsWorthThreads) {
    if (rows > 0) f(int64_t{0}, rows);
  } else {
    threads.split(rows, 1, [&](int64_t begin, int64_t end, int) { f(begin, end); });
  }
}

}  // namespace lowkey
