// Threads: how many cores an operation may use, and the two ways of sharing work among them.
// OpenMP underneath (docs/decisions/openmp.md). The functions passed
// in must not throw (an exception cannot leave a parallel region).
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace lowkey {

class Threads {
 public:
  // count = 0: as many as the process may use.
  explicit Threads(int count = 0);
  int count() const noexcept { return count_; }

  // f(thread) once on every thread, thread in [0, count).
  template <typename F>
  void each(F&& f) const noexcept {
    if (count_ == 1) return f(0);
#pragma omp parallel for num_threads(count_) schedule(static, 1)
    for (int thread = 0; thread < count_; ++thread) f(thread);
  }

  // f(begin, end, thread): [0, n) in one contiguous piece per thread, cut at multiples of grain.
  template <typename F>
  void split(int64_t n, int64_t grain, F&& f) const noexcept {
    const int64_t pieces = (n + grain - 1) / grain;
    each([&](int thread) {
      const int64_t begin = pieces * thread / count_ * grain;
      const int64_t end = std::min(n, pieces * (thread + 1) / count_ * grain);
      if (begin < end) f(begin, end, thread);
    });
  }

  // f(i, thread) for i in [0, n), handed out one at a time: for pieces of unequal cost.
  template <typename F>
  void dynamic(int64_t n, F&& f) const noexcept {
    std::atomic<int64_t> next{0};
    each([&](int thread) {
      for (int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < n;) f(i, thread);
    });
  }

 private:
  int count_;
};

}  // namespace lowkey
