#include "base/threads.h"

#include <sched.h>

#include <chrono>
#include <thread>
#include <vector>

#include "base/arena.h"
#include "base/error.h"

namespace lowkey {
namespace {

// As long as the gaps between the regions of a decoding step, and far less than a time slice of the scheduler.
constexpr auto kAwake = std::chrono::microseconds(200);

// Until `value` is no longer `old`: awake for a time, then asleep.
void wait_for_change(const std::atomic<uint32_t>& value, uint32_t old, std::chrono::microseconds awake) noexcept {
  constexpr int kLooks = 64;  // between two glances at the clock
  const auto start = std::chrono::steady_clock::now();
  while (value.load(std::memory_order_acquire) == old) {
    for (int i = 0; i < kLooks; ++i) {
      if (value.load(std::memory_order_relaxed) != old) break;
      __builtin_ia32_pause();
    }
    if (std::chrono::steady_clock::now() - start > awake) value.wait(old, std::memory_order_acquire);
  }
}

int allowed_cores() noexcept {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace

// A region is one turn: the caller sets the job and begins the turn, and every part of it, one for each thread, is done
// by who takes it first: its worker, or the caller once its own is done. So a worker that the scheduler keeps waiting,
// because other programs run, is not waited for unless it has begun.
class ThreadPool {
 public:
  using Call = void (*)(const void* job, int thread);

  // With more threads than cores, who stays awake keeps another from working.
  explicit ThreadPool(int count)
      : awake_(count <= allowed_cores() ? kAwake : std::chrono::microseconds(0)), parts_(static_cast<size_t>(count)) {
    for (int thread = 1; thread < count; ++thread) workers_.emplace_back([this, thread] { work(thread); });
  }

  ~ThreadPool() {
    ended_.store(true, std::memory_order_relaxed);
    begin_turn();
    for (std::thread& worker : workers_) worker.join();
  }

  void run(Call call, const void* job) noexcept {
    const auto others = static_cast<uint32_t>(workers_.size());
    call_ = call, job_ = job;
    busy_.store(others, std::memory_order_relaxed);
    const uint32_t turn = begin_turn();
    call(job, 0);
    uint32_t done = 0;
    for (uint32_t thread = 1; thread <= others; ++thread)
      if (take(static_cast<int>(thread), turn)) call(job, static_cast<int>(thread)), ++done;
    busy_.fetch_sub(done, std::memory_order_acq_rel);
    for (uint32_t busy; (busy = busy_.load(std::memory_order_acquire)) != 0;) wait_for_change(busy_, busy, awake_);
  }

 private:
  struct alignas(kCacheLine) Part {
    std::atomic<uint32_t> taken{0};  // the last turn in which somebody took it
  };

  uint32_t begin_turn() noexcept {
    const uint32_t turn = turn_.fetch_add(1, std::memory_order_release) + 1;
    turn_.notify_all();
    return turn;
  }

  // Whose it then is to do; no turn ends before. Fails when another took it, so also when the turn is over.
  bool take(int thread, uint32_t turn) noexcept {
    uint32_t before = turn - 1;
    return parts_[static_cast<size_t>(thread)].taken.compare_exchange_strong(before, turn, std::memory_order_acq_rel,
                                                                             std::memory_order_relaxed);
  }

  void work(int thread) noexcept {
    for (uint32_t turn = 0;;) {
      wait_for_change(turn_, turn, awake_);
      turn = turn_.load(std::memory_order_acquire);
      if (ended_.load(std::memory_order_relaxed)) return;
      if (!take(thread, turn)) continue;
      call_(job_, thread);
      if (busy_.fetch_sub(1, std::memory_order_acq_rel) == 1) busy_.notify_one();
    }
  }

  const std::chrono::microseconds awake_;
  std::vector<Part> parts_;
  std::vector<std::thread> workers_;
  Call call_ = nullptr;  // both are written between turns only, and read by who has taken a part
  const void* job_ = nullptr;
  std::atomic<bool> ended_{false};
  alignas(kCacheLine) std::atomic<uint32_t> turn_{0};
  alignas(kCacheLine) std::atomic<uint32_t> busy_{0};
};

Threads::Threads(int count) : count_(count == 0 ? allowed_cores() : count) {
  constexpr int kMaxThreads = 1024;
  LK_REQUIRE(count_ >= 1 && count_ <= kMaxThreads, kInvalidArgument, "[threads] count={}, must be 1 to {}", count,
             kMaxThreads);
  if (count_ > 1) pool_ = std::make_unique<ThreadPool>(count_);
}

Threads::~Threads() = default;
Threads::Threads(Threads&&) noexcept = default;
Threads& Threads::operator=(Threads&&) noexcept = default;

void Threads::run(Call call, const void* job) const noexcept { pool_->run(call, job); }

}  // namespace lowkey
