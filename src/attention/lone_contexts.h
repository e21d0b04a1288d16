// LoneContexts: contexts of one thread for the threads of another, each for work that shares none: the many small
// products of a head take no turns of all threads then.
#pragma once

#include <cstdint>
#include <vector>

#include "base/context.h"

namespace lowkey {

// What a piece of work takes of scratch is reserved before, as no error gets out of another thread: `floats` that it
// takes itself, and what a product of f32 within them takes. That packs no more than as much again, and works in less
// than 1 MiB.
class LoneContexts {
 public:
  // Throws kOutOfMemory.
  LoneContexts(const Context& context, int64_t floats) {
    constexpr int64_t kWorkspace = (1 << 20) / sizeof(float);
    for (int i = 0; i < context.threads.count(); ++i) {
      lone_.emplace_back(1);
      Scratch::Frame(lone_.back().scratch).take<float>(2 * floats + kWorkspace);
    }
  }
  const Context& operator[](int thread) const noexcept { return lone_[static_cast<size_t>(thread)]; }

 private:
  std::vector<Context> lone_;
};

}  // namespace lowkey
