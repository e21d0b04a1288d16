// gemv: a few rows of x against rows of w as they lie, for matmul. One pass over the weights at memory speed.
#pragma once

#include <cstdint>

#include "base/dtype.h"

namespace lowkey {

inline constexpr int kGemvRows = 4;      // rows of x in one pass: their sums fit the registers
inline constexpr int kWordMax = 16383;   // of int16 activations: 32 products with |q| <= 4096 fit int32
inline constexpr int kWeightMax = 4095;  // of int16 weights beside them
inline constexpr int kByteMax = 127;     // of int8 activations

// Rows of x as the kernels read them: x = scale * q per block of 32.
struct Activations {
  const float* x = nullptr;           // [T, K], for float weights
  const int16_t* words = nullptr;     // [T, K], for kQ8_0
  const float* word_scale = nullptr;  // [T, K / 32]
  const int8_t* bytes = nullptr;      // [T, B * 32], for the types of up to 6 bits; zeros past K
  const float* byte_scale = nullptr;  // [T, B]
  const float* byte_sum = nullptr;    // [T, 2, B]: of elements 0-15 and 16-31 of a block, as quantised
  int64_t rows = 0;                   // T
  int64_t depth = 0;                  // K

  // B: blocks of 32, rounded up to whole groups of 256.
  int64_t byte_blocks() const noexcept { return (depth + kSuperBlock - 1) / kSuperBlock * (kSuperBlock / kQuantBlock); }
  // Those from row t on.
  Activations from_row(int64_t t) const noexcept {
    const int64_t blocks = depth / kQuantBlock, byte_row = byte_blocks();
    return {x + t * depth,
            words + t * depth,
            word_scale + t * blocks,
            bytes + t * byte_row * kQuantBlock,
            byte_scale + t * byte_row,
            byte_sum + 2 * t * byte_row,
            rows - t,
            depth};
  }
};

// Which of them weights of a type are multiplied with.
constexpr bool takes_words(DType type) noexcept { return type == DType::kQ8_0; }
inline bool takes_bytes(DType type) noexcept { return is_quantised(type) && !takes_words(type); }

// Rows [begin, end) of w [N, K].
struct GemvPiece {
  const std::byte* w;
  DType type;
  int64_t begin, end;
  float* out;       // [T, N]
  int64_t outputs;  // N
};

// a.rows <= kGemvRows.
void gemv(const Activations&, const GemvPiece&) noexcept;
void gemv_codes(const Activations&, const GemvPiece&) noexcept;  // the part of gemv for takes_bytes

// q and scale of one row, K a multiple of 32, |q| <= most.
void quantize_words(const float* x, int16_t* q, float* scale, int64_t depth, int most) noexcept;

struct ByteRow {
  int8_t* q;       // [B * 32]
  float* scale;    // [B]
  float* sum;      // [2, B]
  int64_t blocks;  // B
};
void quantize_bytes(const float* x, const ByteRow&, int64_t depth) noexcept;

}  // namespace lowkey
