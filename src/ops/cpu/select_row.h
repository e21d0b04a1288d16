// select_row: one row of select_tokens.
#pragma once

#include "ops/select_tokens.h"

namespace lowkey {

struct SelectRow {
  const float* keys;  // [length]
  int64_t length;
  const SelectBudget* budget;
  int32_t* ids;  // out
  // Work of select_room(length) numbers each; weights only where the share is below 1.
  int32_t* candidates;
  float *candidate_keys, *weights;
};

constexpr int64_t select_room(int64_t length) { return length + 64; }

TokenList select_row(const SelectRow&) noexcept;

}  // namespace lowkey
