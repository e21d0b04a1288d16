// Threads: how many cores an operation may use, and the ways of sharing work among them. A small pool of its own
// (docs/decisions/threads.md): between the many short regions of a step its threads stay awake for a moment, then
// sleep, and the part of one that does not come is done by the caller, so that a machine with other work to do loses
// little. The functions passed in must not throw (an exception has no way out of another thread), and must not share
// work themselves.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <type_traits>

namespace lowkey {

class ThreadPool;

// Serves one caller at a time.
class Threads {
 public:
  // count = 0: as many as the process may use. Throws kInvalidArgument.
  explicit Threads(int count = 0);
  ~Threads();
  Threads(Threads&&) noexcept;
  Threads& operator=(Threads&&) noexcept;

  int count() const noexcept { return count_; }

  // f(thread) once for every thread in [0, count), at the same time where the machine lets them. The caller is thread
  // 0, and any other that has not begun when it is done: parts must not wait for one another.
  template <typename F>
  void each(F&& f) const noexcept {
    if (count_ == 1) return f(0);
    run([](const void* job, int thread) { (*static_cast<const std::remove_reference_t<F>*>(job))(thread); }, &f);
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

  // f(begin, end, thread): [0, n) in contiguous pieces cut at multiples of grain, handed out in order, each a share of
  // what is left: long at first, short at the end, so that a slower core does less.
  template <typename F>
  void guided(int64_t n, int64_t grain, F&& f) const noexcept {
    const int64_t pieces = (n + grain - 1) / grain;
    std::atomic<int64_t> next{0};
    each([&](int thread) {
      for (int64_t first = next.load(std::memory_order_relaxed); first < pieces;) {
        const int64_t taken = std::max<int64_t>(1, (pieces - first) / (2 * count_));
        if (!next.compare_exchange_weak(first, first + taken, std::memory_order_relaxed)) continue;
        f(first * grain, std::min(n, (first + taken) * grain), thread);
        first = next.load(std::memory_order_relaxed);
      }
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
  using Call = void (*)(const void* job, int thread);
  void run(Call, const void* job) const noexcept;

  int count_;
  std::unique_ptr<ThreadPool> pool_;  // null when count is 1
};

}  // namespace lowkey
