// Weights of F8_E4M3 (a sign, 4 bits of exponent, 3 of fraction; no infinity), which the house does not compute with:
// they become bf16 once their file is open, times the scales that lie beside them.
#pragma once

#include <cstdint>
#include <string>

#include "base/arena.h"
#include "base/view.h"

namespace lowkey {

// Of the 256 patterns.
float f8_e4m3_to_f32(uint8_t) noexcept;

// `bytes` [..., K] as bf16 in memory of its own, to which the view returned points. `scales`, when not null, f32 or
// bf16: one number for all, one for each row, or a grid of one for each 128 x 128. Throws kUnsupported for another
// shape; the message begins with `place`.
View widen_f8(const View& bytes, const View* scales, const std::string& place, HugeBuffer& memory);

}  // namespace lowkey
