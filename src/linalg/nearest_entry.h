// nearest_entry: the inner kernel of codebooks: which of 16 entries lies nearest, for many points at once.
#pragma once

#include <cstdint>

namespace lowkey {

struct NearestEntryArgs {
  const float* points;  // [width, stride], of which the first `count` columns are read
  int64_t stride, count;
  int width;
  const float* entries;  // [width, 16]
  float* distances;      // [count] out, squared
  int32_t* codes;        // [count] out, the lower one of two as near
};

void nearest_entry(const NearestEntryArgs&) noexcept;

}  // namespace lowkey
