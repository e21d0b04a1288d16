// gemv: a few rows of x against rows of w as they lie, for matmul. One pass over the weights at memory speed.
#pragma once

#include <cstdint>

#include "base/dtype.h"

namespace lowkey {

inline constexpr int kGemvRows = 4;     // rows of x in one pass: their sums fit the registers
inline constexpr int kWordMax = 16383;  // of int16 activations: sums of 32 products with bytes fit int32
inline constexpr int kByteMax = 127;    // of int8 activations
inline constexpr int kHalfMax = 1023;   // of the sum of |q| of half a block: 32 times it fits int16
inline constexpr float kHalfRounding = kQuantBlock / 4;  // what rounding 16 numbers adds to such a sum at most
inline constexpr int kShareMax = 63;  // of ByteGroup::share: with it the sums of 256 kQ6_K products fit int32

// 256 elements of x in 8 bits, x = unit * share * q; what is past K is zeros. The share of a block of 32 is a whole
// number, so that the scales of a kQ*_K block and those of x meet in integers.
struct alignas(64) ByteGroup {
  int8_t q[kSuperBlock];
  int16_t share[8];   // of each block
  int16_t sum[2][8];  // of q of elements 0-15, and 16-31, of each block
  float unit;
  // For weights of kQ4_x and kQ5_x:
  int8_t paired[kSuperBlock];  // q, elements 0-15 of blocks b and b + 4, then 16-31 of both, b from 0 to 3
  float scale[8];              // unit * share
  float total[8];              // of x as quantised
};

// Rows of x as the kernels read them.
struct Activations {
  const float* x = nullptr;           // [T, K], for float weights
  const int16_t* words = nullptr;     // [T, K], for kQ8_0: x = scale * word per block of 32
  const float* word_scale = nullptr;  // [T, K / 32]
  const ByteGroup* bytes = nullptr;   // [T, ceil(K / 256)], for the types of up to 6 bits
  int64_t rows = 0;                   // T
  int64_t depth = 0;                  // K

  int64_t byte_groups() const noexcept { return (depth + kSuperBlock - 1) / kSuperBlock; }
  // Those from row t on.
  Activations from_row(int64_t t) const noexcept {
    const int64_t blocks = depth / kQuantBlock;
    return {x + t * depth, words + t * depth, word_scale + t * blocks, bytes + t * byte_groups(), rows - t, depth};
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

// q and scale of one row, K a multiple of 32, |q| <= kWordMax.
void quantize_words(const float* x, int16_t* q, float* scale, int64_t depth) noexcept;

// The groups of one row, K a multiple of 32.
void quantize_bytes(const float* x, ByteGroup* groups, int64_t depth) noexcept;

}  // namespace lowkey
