// quantize / dequantize: rows between f32 and every storage type of base/dtype.h. The values are those of
// the GGUF format, bit for bit, when read. What is written is its writers' for types of 32 elements (q8_0 d = amax /
// 127, q = round(x / d); q4_0 d = extreme / -8, q = min(15, x / d + 8.5)), and a search of our own for those of 256.
#pragma once

#include "base/context.h"
#include "base/view.h"

namespace lowkey {

struct QuantizeArgs {
  View x;    // [N, K] f32
  View out;  // [N, K] any type
};
struct DequantizeArgs {
  View x;    // [N, K] any type
  View out;  // [N, K] f32
};

// Throw kInvalidArgument when shapes disagree or K is no multiple of the type's block. Parallel over rows.
void quantize(const Context&, const QuantizeArgs&);
void dequantize(const Context&, const DequantizeArgs&);

// One row of n elements, on the calling thread; for use inside other kernels. Trusted arguments.
void quantize_row(DType, const float* x, void* out, int64_t n) noexcept;
void dequantize_row(DType, const void* x, float* out, int64_t n) noexcept;

namespace ref {
void quantize_row(DType, const float* x, void* out, int64_t n) noexcept;
void dequantize_row(DType, const void* x, float* out, int64_t n) noexcept;
}  // namespace ref

}  // namespace lowkey
