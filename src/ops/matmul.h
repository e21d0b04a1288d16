// matmul: y = x w^T for a linear layer, w as it lies in the file.
// Few rows of x (decoding) stream the weights once at memory speed (GEMV); many rows (prompts) go through
// blocked kernels (GEMM), which keep no copy of the weights beyond a slab in cache.
#pragma once

#include "base/context.h"
#include "base/view.h"

namespace lowkey {

struct MatmulArgs {
  View x;    // [T, K] f32
  View w;    // [N, K], any type of weights
  View out;  // [T, N] f32; must not overlap x
};

// Throws kInvalidArgument when shapes or types disagree. Arithmetic: f32 weights in f32; 16-bit weights in f32;
// quantised weights against x rounded per block of 32, exact in between: to 15 bits with kQ8_0, else to 8 bits; with
// AMX and more than 4 rows, all but f32 weights in bf16 with f32 sums (f16 weights lose 3 bits there, as the
// activations do). The result does not depend on the number of threads, nor a row of it on the others, but GEMV and
// GEMM add in a different order.
void matmul(const Context&, const MatmulArgs&);

// Several layers of the same input (q, k, v; gate, up): x is converted once. All outs have T rows. 1 to 8 parts.
struct MatmulPart {
  View w;    // [N_i, K]
  View out;  // [T, N_i] f32
};
void matmul_parts(const Context&, View x, const MatmulPart* parts, int count);

namespace ref {
void matmul(const MatmulArgs&) noexcept;  // sums in f64
}

}  // namespace lowkey
