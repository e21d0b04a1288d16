// How the blocks of base/dtype.h are read, one element at a time: the order of the bits and of the roundings is that
// of the format. This file must not be compiled with FMA.
#include <cstring>

#include "base/half.h"
#include "ops/quantize.h"

namespace lowkey::ref {
namespace {

uint16_t load16(const uint8_t* p) noexcept {
  uint16_t v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

float half(const uint8_t* p) noexcept { return f16_to_f32(load16(p)); }

// Low (i < 16) and high halves of 16 bytes.
int nibble(const uint8_t* q, int i) noexcept { return q[i % 16] >> i / 16 * 4 & 15; }
int fifth(const uint8_t* bits, int i) noexcept { return (bits[i / 8] >> i % 8 & 1) << 4; }

void read_q8_0(const uint8_t* p, float* out) noexcept {
  for (int i = 0; i < kQuantBlock; ++i) out[i] = half(p) * static_cast<int8_t>(p[2 + i]);
}

void read_q4_0(const uint8_t* p, float* out) noexcept {
  for (int i = 0; i < kQuantBlock; ++i) out[i] = half(p) * static_cast<float>(nibble(p + 2, i) - 8);
}

void read_q4_1(const uint8_t* p, float* out) noexcept {
  for (int i = 0; i < kQuantBlock; ++i) out[i] = half(p) * static_cast<float>(nibble(p + 4, i)) + half(p + 2);
}

void read_q5_0(const uint8_t* p, float* out) noexcept {
  for (int i = 0; i < kQuantBlock; ++i)
    out[i] = half(p) * static_cast<float>((nibble(p + 6, i) | fifth(p + 2, i)) - 16);
}

void read_q5_1(const uint8_t* p, float* out) noexcept {
  for (int i = 0; i < kQuantBlock; ++i)
    out[i] = half(p) * static_cast<float>(nibble(p + 8, i) | fifth(p + 4, i)) + half(p + 2);
}

// Two bits of element i: each half of 128 elements is four runs of 32, run r in bits 2r and 2r + 1 of 32 bytes.
int two_bits(const uint8_t* q, int i) noexcept { return q[i / 128 * 32 + i % 32] >> i / 32 % 4 * 2 & 3; }

void read_q2_k(const uint8_t* p, float* out) noexcept {
  const float d = half(p + 80), m = half(p + 82);
  for (int i = 0; i < kSuperBlock; ++i) {
    const uint8_t s = p[i / 16];
    out[i] = d * static_cast<float>(s & 15) * static_cast<float>(two_bits(p + 16, i)) - m * static_cast<float>(s >> 4);
  }
}

// Scale j of 16: low 4 bits in byte j % 8 (its upper half from j = 8 on), high 2 bits in byte 8 + j % 4. The third bit
// of an element in run r of eight is bit r of 32 bytes, and an unset one takes 4 away.
void read_q3_k(const uint8_t* p, float* out) noexcept {
  const uint8_t* scales = p + 96;
  const float d = half(p + 108);
  for (int i = 0; i < kSuperBlock; ++i) {
    const int j = i / 16, low = scales[j % 8] >> j / 8 * 4 & 15, high = scales[8 + j % 4] >> j / 4 * 2 & 3;
    const int q = two_bits(p + 32, i) - (p[i % 32] >> i / 32 & 1 ? 0 : 4);
    out[i] = d * static_cast<float>((low | high << 4) - 32) * static_cast<float>(q);
  }
}

struct ScaleAndMin {
  float scale, min;
};

// Of 32 elements j in kQ4_K and kQ5_K: the first four lie in 6 bits of a byte each (scales, then mins); the others
// have their low halves in the last four bytes, and the upper 2 bits above those of the first four.
ScaleAndMin scale_and_min(const uint8_t* p, int j) noexcept {
  const float d = half(p), m = half(p + 2);
  const uint8_t* packed = p + 4;
  int s = packed[j % 4] & 63, n = packed[4 + j % 4] & 63;
  if (j >= 4) {
    s = (packed[4 + j] & 15) | packed[j - 4] >> 6 << 4;
    n = packed[4 + j] >> 4 | packed[j] >> 6 << 4;
  }
  return {d * static_cast<float>(s), m * static_cast<float>(n)};
}

// Runs of 32: two share 32 bytes, the even one in the low halves.
int run_nibble(const uint8_t* q, int i) noexcept { return q[i / 64 * 32 + i % 32] >> i / 32 % 2 * 4 & 15; }

void read_q4_k(const uint8_t* p, float* out) noexcept {
  for (int i = 0; i < kSuperBlock; ++i) {
    const auto [scale, min] = scale_and_min(p, i / 32);
    out[i] = scale * static_cast<float>(run_nibble(p + 16, i)) - min;
  }
}

// The fifth bit of run r is bit r of 32 bytes.
void read_q5_k(const uint8_t* p, float* out) noexcept {
  for (int i = 0; i < kSuperBlock; ++i) {
    const auto [scale, min] = scale_and_min(p, i / 32);
    const int high = p[16 + i % 32] >> i / 32 & 1;
    out[i] = scale * static_cast<float>(run_nibble(p + 48, i) | high << 4) - min;
  }
}

// Each half of 128 elements is four runs of 32. Run r takes its low bits from 32 bytes of ql (runs 0 and 2 share
// the first 32, runs 1 and 3 the next; 0 and 1 are the low nibbles) and bits 2r, 2r + 1 of the half's 32 qh bytes.
void read_q6_k(const uint8_t* p, float* out) noexcept {
  const float d = half(p + 208);
  for (int i = 0; i < kSuperBlock; ++i) {
    const int run = i / 32 % 4, low = p[i / 128 * 64 + run % 2 * 32 + i % 32] >> run / 2 * 4 & 15;
    const int q = low | two_bits(p + 128, i) << 4;
    out[i] = d * static_cast<int8_t>(p[192 + i / 16]) * static_cast<float>(q - 32);
  }
}

void read_f32(const uint8_t* p, float* out) noexcept { std::memcpy(out, p, sizeof(float)); }
void read_f16(const uint8_t* p, float* out) noexcept { *out = half(p); }
void read_bf16(const uint8_t* p, float* out) noexcept { *out = bf16_to_f32(load16(p)); }

using Reader = void (*)(const uint8_t* block, float* out) noexcept;

// In the order of DType; none for integers.
constexpr Reader kReaders[] = {read_f32,  read_f16,  read_bf16, read_q8_0, read_q4_0, nullptr,   nullptr,  read_q6_k,
                               read_q4_1, read_q5_0, read_q5_1, read_q2_k, read_q3_k, read_q4_k, read_q5_k};

}  // namespace

void dequantize_row(DType type, const void* x, float* out, int64_t n) noexcept {
  const Reader read = kReaders[static_cast<int>(type)];
  LK_DCHECK(read != nullptr && "no such storage of numbers");
  const auto* bytes = static_cast<const uint8_t*>(x);
  const int step = block_elements(type), size = block_bytes(type);
  for (int64_t i = 0; i < n; i += step, bytes += size) read(bytes, out + i);
}

}  // namespace lowkey::ref
