// DType: how the numbers of a tensor are stored. Quantised types store blocks of 32 (kQ*_K: 256) consecutive
// elements of a row; the layouts are those of GGUF, so that a mapped file is used as it lies. d and m are f16.
//
//   kQ8_0  34 bytes: d, then 32 int8 q;                                        x = d * q
//   kQ4_0  18 bytes: d, 16 bytes of nibbles;                                   x = d * (q - 8)
//   kQ4_1  20 bytes: d, m, nibbles;                                            x = d * q + m
//   kQ5_0  22 bytes: d, 32 fifth bits, nibbles;                                x = d * (q - 16)
//   kQ5_1  24 bytes: d, m, 32 fifth bits, nibbles;                             x = d * q + m
//          nibbles: byte i holds element i in its low and element i + 16 in its high half
//   kQ2_K  84 bytes: 16 bytes of 4-bit scale s and min n, 64 of q, d, m;       x = d * s * q - m * n
//   kQ3_K  110 bytes: 32 bytes of third bits, 64 of q, 12 of 6-bit s, d;       x = d * (s - 32) * (q - 4)
//   kQ4_K  144 bytes: d, m, 12 bytes of 6-bit s and n, 128 of q;               x = d * s * q - m * n
//   kQ5_K  176 bytes: d, m, 12 bytes of 6-bit s and n, 32 of fifth bits, 128;  x = d * s * q - m * n
//   kQ6_K  210 bytes: ql[128], qh[64], 16 int8 s, d;                           x = d * s * (q - 32)
//          a scale serves 32 elements in kQ4_K and kQ5_K, else 16; ref/dequantize.cc spells out the order of the bits
#pragma once

#include <cstdint>
#include <string_view>

namespace lowkey {

enum class DType : uint8_t {
  kF32,
  kF16,
  kBF16,
  kQ8_0,
  kQ4_0,
  kI32,
  kI8,
  kQ6_K,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ2_K,
  kQ3_K,
  kQ4_K,
  kQ5_K,
  kI8I4,  // of caches only: keys as kI8, values in 4 bits (ops/kv_pages.h)
};

inline constexpr int kQuantBlock = 32;   // elements in a block of kQ8_0, kQ4_x and kQ5_x
inline constexpr int kSuperBlock = 256;  // elements in a block of kQ*_K

// Elements that are stored together: 1, kQuantBlock or kSuperBlock.
int block_elements(DType) noexcept;
// Bytes of one such block.
int block_bytes(DType) noexcept;
// Bytes of a row of n elements; n must be a multiple of block_elements.
int64_t row_bytes(DType, int64_t n) noexcept;
bool is_quantised(DType) noexcept;
// Weights may be stored so: all but kI32, kI8 and kI8I4.
bool is_weight(DType) noexcept;
// "f32", "q8_0", ...
std::string_view name(DType) noexcept;

}  // namespace lowkey
