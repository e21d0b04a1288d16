// Scalar conversions between f32 and the two 16-bit float types, as bit patterns.
// Round to nearest even; NaN stays NaN. Kernels use SIMD ones; these specify them.
#pragma once

#include <bit>
#include <cstdint>

namespace lowkey {

inline float bf16_to_f32(uint16_t h) noexcept { return std::bit_cast<float>(uint32_t{h} << 16); }

inline uint16_t f32_to_bf16(float x) noexcept {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40u);  // quiet NaN
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

inline float f16_to_f32(uint16_t h) noexcept {
  const uint32_t sign = uint32_t{h & 0x8000u} << 16;
  const uint32_t magnitude = h & 0x7fffu;
  if (magnitude >= 0x7c00u) return std::bit_cast<float>(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
  if (magnitude >= 0x0400u) return std::bit_cast<float>(sign | ((magnitude << 13) + 0x38000000u));
  const float subnormal = static_cast<float>(magnitude) * 0x1p-24f;
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(subnormal));
}

inline uint16_t f32_to_f16(float x) noexcept {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u);
  if (magnitude >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);  // rounds to infinity
  if (magnitude >= 0x38800000u)                                                // normal in f16
    return static_cast<uint16_t>(sign | ((magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13));
  // Subnormal: adding 0.5 aligns the 10 bits that remain at the bottom of the mantissa, rounded by the FPU.
  const uint32_t aligned = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f);
  return static_cast<uint16_t>(sign | (aligned - 0x3f000000u));
}

}  // namespace lowkey
