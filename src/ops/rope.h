// rope: rotary position embedding (Su et al. 2021), in place. Pair i of a head turns by
// position * inverse_frequency[i]; of R/2 pairs, the first R coordinates. The two layouts of the pairs in the wild:
//   kHalf         (x[i], x[i + R/2])      Hugging Face Llama, GPT-NeoX
//   kInterleaved  (x[2i], x[2i + 1])      the original Llama; GGUF files of the llama architecture
#pragma once

#include <span>

#include "base/context.h"
#include "base/view.h"

namespace lowkey {

enum class RopeLayout : uint8_t { kHalf, kInterleaved };

struct RopeArgs {
  View x;                              // [T, H, D] f32, rotated in place
  std::span<const int32_t> positions;  // [T]
  View inverse_frequency;              // [R/2] f32, R <= D, scalings already applied
  RopeLayout layout;
  float amplitude = 1;  // what turns is multiplied by it
};

void rope(const Context&, const RopeArgs&);

namespace ref {
void rope(const RopeArgs&) noexcept;  // angles in f64
}

}  // namespace lowkey
