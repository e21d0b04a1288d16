// DramProbe: what memory gives today. A timing of anything bound by memory is printed beside a probe taken in the same
// run, since shared hosts drift by a factor of two.
#pragma once

#include <cstdint>

#include "base/arena.h"
#include "base/context.h"

namespace lowkey {

class DramProbe {
 public:
  // Takes `bytes`, best far more than the caches hold. Throws kOutOfMemory.
  explicit DramProbe(const Context&, int64_t bytes = int64_t{512} << 20);

  int64_t bytes() const noexcept { return static_cast<int64_t>(memory_.size()); }
  // Reads it all once with every thread; bytes per second.
  double read();
  // Reads rows of `row_bytes` (a multiple of 128) that lie apart, one in sixteen on average, in ascending order and
  // asked for ahead: as selected tokens are read. Bytes per second.
  double read_rows(int64_t row_bytes);

 private:
  const Context& context_;
  HugeBuffer memory_;
  uint64_t sum_ = 0;  // of all that was read, so that the reads count
};

}  // namespace lowkey
