// rotate_heads: multiplies every head of every token by the matrix of its KV head: x <- P x. With an orthogonal P for
// queries and keys alike their products stay what they were (Loki, Lemma 4.1).
#pragma once

#include "base/context.h"
#include "base/view.h"

namespace lowkey {

struct RotateHeadsArgs {
  View x;       // [T, H, D] f32, changed in place
  View matrix;  // [KH, D, D] f32, rows are outputs; head h uses matrix h / (H / KH)
};

// Throws kInvalidArgument.
void rotate_heads(const Context&, const RotateHeadsArgs&);

namespace ref {
void rotate_heads(const RotateHeadsArgs&) noexcept;
}

}  // namespace lowkey
