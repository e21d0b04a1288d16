// Context: what an operation may use. Passed in, never global. One context serves one thread of
// control at a time (the operation itself uses context.threads inside).
#pragma once

#include "base/arena.h"
#include "base/threads.h"

namespace lowkey {

struct Context {
  Threads threads;
  mutable Scratch scratch;

  explicit Context(int thread_count = 0) : threads(thread_count) {}
};

}  // namespace lowkey
