// DType: how the numbers of a tensor are stored. Quantised types store blocks of 32 (kQ6_K: 256) consecutive
// elements of a row; the layouts are those of GGUF, so that a mapped file is used as it lies.
//
//   kQ8_0  34 bytes: f16 scale d, then 32 int8 q;                  x = d * q
//   kQ4_0  18 bytes: f16 scale d, then 16 bytes of two nibbles;    x = d * (q - 8)
//          byte i holds element i in its low and element i + 16 in its high nibble
//   kQ6_K  210 bytes: ql[128], qh[64], int8 scales[16], f16 d;     x = d * scale * (q - 32), read only
//          element i of half h: scale 8h + i / 16, low 4 bits in ql, high 2 bits in qh (ops/quantize.h)
#pragma once

#include <cstdint>
#include <string_view>

namespace lowkey {

enum class DType : uint8_t { kF32, kF16, kBF16, kQ8_0, kQ4_0, kI32, kI8, kQ6_K };

inline constexpr int kQuantBlock = 32;   // elements in a block of kQ8_0 and kQ4_0
inline constexpr int kSuperBlock = 256;  // elements in a block of kQ6_K

// Elements that are stored together: 1, kQuantBlock or kSuperBlock.
int block_elements(DType) noexcept;
// Bytes of one such block.
int block_bytes(DType) noexcept;
// Bytes of a row of n elements; n must be a multiple of block_elements.
int64_t row_bytes(DType, int64_t n) noexcept;
bool is_quantised(DType) noexcept;
// "f32", "q8_0", ...
std::string_view name(DType) noexcept;

}  // namespace lowkey
