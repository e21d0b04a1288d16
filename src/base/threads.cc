#include "base/threads.h"

#include <omp.h>

#include "base/error.h"

namespace lowkey {

Threads::Threads(int count) : count_(count == 0 ? omp_get_num_procs() : count) {
  constexpr int kMaxThreads = 1024;
  LK_REQUIRE(count_ >= 1 && count_ <= kMaxThreads, kInvalidArgument, "[threads] count={}, must be 1 to {}", count,
             kMaxThreads);
}

}  // namespace lowkey
