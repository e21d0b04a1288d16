// gemv: a few rows of x against rows of w as they lie, for matmul. One pass over the weights at memory speed.
#pragma once

#include <cstdint>

#include "base/dtype.h"

namespace lowkey {

inline constexpr int kGemvRows = 4;           // rows of x in one pass: their sums fit the registers
inline constexpr int kActivationMax = 16383;  // of int16 activations: 32 products with |q| <= 4096 fit int32

// Rows of x as the kernels read them. For quantised weights x = scale * q per block of 32.
struct Activations {
  const float* x = nullptr;      // [T, K], for float weights
  const int16_t* q = nullptr;    // [T, K], for quantised weights
  const float* scale = nullptr;  // [T, K / 32]
  int64_t rows = 0;              // T <= kGemvRows
  int64_t depth = 0;             // K
};

// Rows [begin, end) of w [N, K].
struct GemvPiece {
  const std::byte* w;
  DType type;
  int64_t begin, end;
  float* out;       // [T, N]
  int64_t outputs;  // N
};

void gemv(const Activations&, const GemvPiece&) noexcept;

// q and scale of one row, K a multiple of 32.
void quantize_activations(const float* x, int16_t* q, float* scale, int64_t depth) noexcept;

}  // namespace lowkey
