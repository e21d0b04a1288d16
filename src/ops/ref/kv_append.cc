#include "ops/kv_append.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/half.h"

namespace lowkey::ref {
namespace {

void store(DType dtype, std::byte* row, int64_t i, float x) noexcept {
  if (dtype == DType::kF32) {
    std::memcpy(row + i * 4, &x, sizeof(x));
    return;
  }
  const uint16_t h = dtype == DType::kF16 ? f32_to_f16(x) : f32_to_bf16(x);
  std::memcpy(row + i * 2, &h, sizeof(h));
}

// As f32 with 16 significant bits, rounded up: no product with 8 bits rounds.
float byte_scale(float peak) noexcept {
  return std::bit_cast<float>((std::bit_cast<uint32_t>(peak / 127.f) + 0xff) & ~uint32_t{0xff});
}

// As f32 with 16 significant bits, the nearest one.
float nibble_scale(float range) noexcept {
  return std::bit_cast<float>((std::bit_cast<uint32_t>(range / 15.f) + 0x80) & ~uint32_t{0xff});
}

// Bytes nearest to x / scale. A row that holds what is no finite number becomes one of NaN, a row too small one of
// zeros.
void store_bytes(const float* x, int64_t dim, std::byte* out, std::byte* scale_out) noexcept {
  float peak = 0;
  bool finite = true;
  for (int64_t i = 0; i < dim; ++i) peak = std::max(peak, std::abs(x[i])), finite &= std::isfinite(x[i]);
  const float scale = peak < 1e-30f ? 0.f : byte_scale(peak), inverse = scale == 0 ? 0.f : 1.f / scale;
  const float stored = finite ? scale : std::numeric_limits<float>::quiet_NaN();
  for (int64_t i = 0; i < dim; ++i)
    out[i] = finite ? static_cast<std::byte>(static_cast<int8_t>(std::nearbyint(x[i] * inverse))) : std::byte{0};
  std::memcpy(scale_out, &stored, sizeof(stored));
}

// Of numbers in [0, 15]: the nearest step of a 15th of the row's range up from its least. The scale has 16 significant
// bits, so that rounding what is read again finds the same one.
void store_nibbles(const float* x, int64_t dim, std::byte* out, std::byte* scale_out) noexcept {
  float least = x[0], most = x[0];
  bool finite = true;
  for (int64_t i = 0; i < dim; ++i)
    least = std::min(least, x[i]), most = std::max(most, x[i]), finite &= std::isfinite(x[i]);
  const float range = most - least;
  finite &= std::isfinite(range);
  const float scale = range < 1e-30f ? 0.f : nibble_scale(range), inverse = scale == 0 ? 0.f : 1.f / scale;
  const auto step = [&](int64_t i) {
    return finite ? static_cast<unsigned>(std::min(15.f, std::nearbyint((x[i] - least) * inverse))) : 0u;
  };
  for (int64_t i = 0; i < dim / 2; ++i) out[i] = static_cast<std::byte>(step(i) | step(dim / 2 + i) << 4);
  const float stored[2] = {finite ? scale : std::numeric_limits<float>::quiet_NaN(), finite ? least : 0.f};
  std::memcpy(scale_out, stored, sizeof(stored));
}

}  // namespace

void kv_append(const KvAppendArgs& a) noexcept {
  const int64_t tokens = a.k.dim(0), dim = a.kv.head_dim, first = a.kv.length - tokens;
  for (int64_t t = 0; t < tokens; ++t) {
    for (int head = 0; head < a.kv.kv_heads; ++head) {
      std::byte* row = a.kv.token(head, first + t);
      const int64_t source = t * a.kv.kv_heads + head;
      if (has_scales(a.kv.dtype)) {
        std::byte* scales = row + a.kv.scale_offset();
        store_bytes(a.k.f32_row(source), dim, row, scales);
        const auto store_values = a.kv.dtype == DType::kI8 ? store_bytes : store_nibbles;
        store_values(a.v.f32_row(source), dim, row + dim, scales + sizeof(float));
        continue;
      }
      for (int64_t i = 0; i < dim; ++i) {
        store(a.kv.dtype, row, i, a.k.f32_row(source)[i]);
        store(a.kv.dtype, row, dim + i, a.v.f32_row(source)[i]);
      }
    }
  }
}

}  // namespace lowkey::ref
