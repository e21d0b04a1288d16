// The block layouts of base/dtype.h, one element at a time.
#include "ops/quantize.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/half.h"

namespace lowkey::ref {
namespace {

uint16_t load16(const uint8_t* p) noexcept {
  uint16_t v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

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

// Product and sum are rounded one after the other, in f32, as the format's writers do: this file must not be
// compiled with FMA.
void quantize_q4_0(const float* x, uint8_t* block) noexcept {
  const float extreme =
      *std::max_element(x, x + kQuantBlock, [](float a, float b) { return std::fabs(a) < std::fabs(b); });
  const float d = extreme / -8.f, inverse = inverse_scale(d);
  const auto q = [&](int i) {
    const float product = x[i] * inverse, shifted = product + 8.5f;
    return std::isnan(shifted) ? 8 : static_cast<int>(std::clamp(shifted, 0.f, 15.f));
  };
  store16(f32_to_f16(d), block);
  for (int i = 0; i < kQuantBlock / 2; ++i) block[2 + i] = static_cast<uint8_t>(q(i) | q(i + kQuantBlock / 2) << 4);
}

void dequantize_q8_0(const uint8_t* block, float* out) noexcept {
  const float d = f16_to_f32(load16(block));
  for (int i = 0; i < kQuantBlock; ++i) out[i] = d * static_cast<int8_t>(block[2 + i]);
}

void dequantize_q4_0(const uint8_t* block, float* out) noexcept {
  const float d = f16_to_f32(load16(block));
  for (int i = 0; i < kQuantBlock / 2; ++i) {
    out[i] = d * ((block[2 + i] & 15) - 8);
    out[i + kQuantBlock / 2] = d * ((block[2 + i] >> 4) - 8);
  }
}

// Each half of 128 elements is four runs of 32. Run r takes its low bits from 32 bytes of ql (runs 0 and 2 share
// the first 32, runs 1 and 3 the next; 0 and 1 are the low nibbles) and bits 2r, 2r + 1 of the half's 32 qh bytes.
void dequantize_q6_k(const uint8_t* block, float* out) noexcept {
  const float d = f16_to_f32(load16(block + 208));
  for (int i = 0; i < kSuperBlock; ++i) {
    const int half = i / 128, run = i / 32 % 4, j = i % 32;
    const int low = block[half * 64 + run % 2 * 32 + j] >> run / 2 * 4 & 15;
    const int high = block[128 + half * 32 + j] >> 2 * run & 3;
    out[i] = d * static_cast<int8_t>(block[192 + i / 16]) * static_cast<float>((low | high << 4) - 32);
  }
}

}  // namespace

void quantize_row(DType type, const float* x, void* out, int64_t n) noexcept {
  auto* bytes = static_cast<uint8_t*>(out);
  const int step = block_elements(type), size = block_bytes(type);
  for (int64_t i = 0; i < n; i += step, bytes += size) {
    switch (type) {
      case DType::kF32:
        std::memcpy(bytes, x + i, sizeof(float));
        break;
      case DType::kF16:
        store16(f32_to_f16(x[i]), bytes);
        break;
      case DType::kBF16:
        store16(f32_to_bf16(x[i]), bytes);
        break;
      case DType::kQ8_0:
        quantize_q8_0(x + i, bytes);
        break;
      case DType::kQ4_0:
        quantize_q4_0(x + i, bytes);
        break;
      default:
        LK_DCHECK(false && "no such storage of numbers");
    }
  }
}

void dequantize_row(DType type, const void* x, float* out, int64_t n) noexcept {
  const auto* bytes = static_cast<const uint8_t*>(x);
  const int step = block_elements(type), size = block_bytes(type);
  for (int64_t i = 0; i < n; i += step, bytes += size) {
    switch (type) {
      case DType::kF32:
        std::memcpy(out + i, bytes, sizeof(float));
        break;
      case DType::kF16:
        out[i] = f16_to_f32(load16(bytes));
        break;
      case DType::kBF16:
        out[i] = bf16_to_f32(load16(bytes));
        break;
      case DType::kQ8_0:
        dequantize_q8_0(bytes, out + i);
        break;
      case DType::kQ4_0:
        dequantize_q4_0(bytes, out + i);
        break;
      case DType::kQ6_K:
        dequantize_q6_k(bytes, out + i);
        break;
      default:
        LK_DCHECK(false && "no such storage of numbers");
    }
  }
}

}  // namespace lowkey::ref
