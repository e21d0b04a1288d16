// matmul: y = x w^T for a linear layer, w as it lies in the file (f32, f16, bf16, q8_0, q4_0, q6_k).
// Few rows of x (decoding) stream the weights once at memory speed (GEMV); many rows (prompts) go
// through blocked kernels (cpu/gemm.h), on AMX tiles where there are any.
#pragma once

#include "base/context.h"
#include "base/view.h"

namespace lowkey {

struct MatmulArgs {
  View x;    // [T, K] f32
  View w;    // [N, K] f32, f16, bf16, q8_0, q4_0 or q6_k
  View out;  // [T, N] f32; must not overlap x
};

// Throws kInvalidArgument when shapes or types disagree. Arithmetic: f32 weights in f32; 16-bit weights in
// bf16 with f32 sums where the processor has AMX and T is large, else in f32; quantised weights against x
// quantised per block (its error is below that of the weights).
void matmul(const Context&, const MatmulArgs&);

// Several layers of the same input (q, k, v; gate, up): x is converted once. All outs have T rows.
struct MatmulPart {
  View w;    // [N_i, K]
  View out;  // [T, N_i] f32
};
void matmul_parts(const Context&, View x, const MatmulPart* parts, int count);

namespace ref {
void matmul(const MatmulArgs&) noexcept;  // sums in f64
}

}  // namespace lowkey
