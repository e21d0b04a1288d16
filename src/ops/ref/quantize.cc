// How the blocks of base/dtype.h are written.
#include "ops/quantize.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/half.h"
#include "ops/ref/quantize_k.h"

namespace lowkey::ref {
namespace {

void store16(uint16_t v, uint8_t* p) noexcept { std::memcpy(p, &v, sizeof v); }

// 0 also where 1 / d overflows: such a d is 0 in f16.
float inverse_scale(float d) noexcept { return std::fabs(d) < 0x1p-126f ? 0 : 1.f / d; }

void quantize_q8_0(const float* x, uint8_t* block) noexcept {
  float amax = 0;
  for (int i = 0; i < kQuantBlock; ++i) amax = std::max(amax, std::fabs(x[i]));
  const float d = amax / 127.f, inverse = inverse_scale(d);
  store16(f32_to_f16(d), block);
  for (int i = 0; i < kQuantBlock; ++i) {
    const float q = std::round(x[i] * inverse);
    block[2 + i] = std::isnan(q) ? 0 : static_cast<uint8_t>(static_cast<int>(q));
  }
}

// Codes of 4 or 5 bits: nibbles, element i + 16 above element i, and from five bits on the fifth bits before them.
void store_codes(const int (&q)[kQuantBlock], bool five, uint8_t* out) noexcept {
  if (five) {
    uint32_t high = 0;
    for (int i = 0; i < kQuantBlock; ++i) high |= static_cast<uint32_t>(q[i] >> 4) << i;
    std::memcpy(out, &high, sizeof high);
    out += sizeof high;
  }
  for (int i = 0; i < kQuantBlock / 2; ++i)
    out[i] = static_cast<uint8_t>((q[i] & 15) | (q[i + kQuantBlock / 2] & 15) << 4);
}

// Product and sum are rounded one after the other, in f32, as the format's writers do: this file must not be
// compiled with FMA.
int code(float x, float inverse, float shift, int otherwise, int most) noexcept {
  const float product = x * inverse, shifted = product + shift;
  return std::isnan(shifted) ? otherwise : static_cast<int>(std::clamp(shifted, 0.f, static_cast<float>(most)));
}

// kQ4_0 and kQ5_0.
void quantize_symmetric(const float* x, int bits, uint8_t* block) noexcept {
  const float extreme =
      *std::max_element(x, x + kQuantBlock, [](float a, float b) { return std::fabs(a) < std::fabs(b); });
  const int middle = 1 << (bits - 1);
  const float d = extreme / static_cast<float>(-middle), inverse = inverse_scale(d);
  int q[kQuantBlock];
  for (int i = 0; i < kQuantBlock; ++i)
    q[i] = code(x[i], inverse, static_cast<float>(middle) + 0.5f, middle, 2 * middle - 1);
  store16(f32_to_f16(d), block);
  store_codes(q, bits == 5, block + 2);
}

// kQ4_1 and kQ5_1.
void quantize_with_min(const float* x, int bits, uint8_t* block) noexcept {
  const auto [low, high] = std::minmax_element(x, x + kQuantBlock);
  const int most = (1 << bits) - 1;
  const float min = *low, d = (*high - min) / static_cast<float>(most), inverse = inverse_scale(d);
  int q[kQuantBlock];
  for (int i = 0; i < kQuantBlock; ++i) q[i] = code(x[i] - min, inverse, 0.5f, 0, most);
  store16(f32_to_f16(d), block);
  store16(f32_to_f16(min), block + 2);
  store_codes(q, bits == 5, block + 4);
}

void quantize_q4_0(const float* x, uint8_t* out) noexcept { quantize_symmetric(x, 4, out); }
void quantize_q4_1(const float* x, uint8_t* out) noexcept { quantize_with_min(x, 4, out); }
void quantize_q5_0(const float* x, uint8_t* out) noexcept { quantize_symmetric(x, 5, out); }
void quantize_q5_1(const float* x, uint8_t* out) noexcept { quantize_with_min(x, 5, out); }

void write_f32(const float* x, uint8_t* out) noexcept { std::memcpy(out, x, sizeof(float)); }
void write_f16(const float* x, uint8_t* out) noexcept { store16(f32_to_f16(*x), out); }
void write_bf16(const float* x, uint8_t* out) noexcept { store16(f32_to_bf16(*x), out); }

using Writer = void (*)(const float* x, uint8_t* block) noexcept;

// In the order of DType; none for integers.
constexpr Writer kWriters[] = {write_f32,     write_f16,     write_bf16,    quantize_q8_0, quantize_q4_0,
                               nullptr,       nullptr,       quantize_q6_k, quantize_q4_1, quantize_q5_0,
                               quantize_q5_1, quantize_q2_k, quantize_q3_k, quantize_q4_k, quantize_q5_k};

}  // namespace

void quantize_row(DType type, const float* x, void* out, int64_t n) noexcept {
  const Writer write = kWriters[static_cast<int>(type)];
  LK_DCHECK(write != nullptr && "no such storage of numbers");
  auto* bytes = static_cast<uint8_t*>(out);
  const int step = block_elements(type), size = block_bytes(type);
  for (int64_t i = 0; i < n; i += step, bytes += size) write(x + i, bytes);
}

}  // namespace lowkey::ref
