// Two steps: scales (and mins) of 16 or 32 elements are sought in f32, each on its own, then stored in few bits beside
// one f16 for all 256; codes are those nearest to x under what was stored.
#include "ops/ref/quantize_k.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/dtype.h"
#include "base/half.h"

namespace lowkey::ref {
namespace {

struct Fit {
  float scale = 0, min = 0;  // x = scale * code - min
};

float stored(float x, uint8_t* p) noexcept {
  const uint16_t bits = f32_to_f16(x);
  std::memcpy(p, &bits, sizeof bits);
  return f16_to_f32(bits);
}

int nearest(float x, int low, int high) noexcept {
  return std::isnan(x)
             ? std::clamp(0, low, high)
             : static_cast<int>(std::lround(std::clamp(x, static_cast<float>(low), static_cast<float>(high))));
}

// Codes -most .. most - 1, no min. Tries divisors around the one that brings the extreme to -most; for each, the best
// scale of its codes has a closed form.
Fit fit_symmetric(const float* x, int n, int most) noexcept {
  const float extreme = *std::max_element(x, x + n, [](float a, float b) { return std::fabs(a) < std::fabs(b); });
  if (!(std::fabs(extreme) > 1e-30f)) return {};
  Fit best;
  double best_gain = 0;
  for (int step = -9; step <= 9; ++step) {
    const float inverse = -(static_cast<float>(most) + 0.1f * static_cast<float>(step)) / extreme;
    double xq = 0, qq = 0;
    for (int i = 0; i < n; ++i) {
      const double weight = double{x[i]} * x[i], q = nearest(x[i] * inverse, -most, most - 1);
      xq += weight * x[i] * q;
      qq += weight * q * q;
    }
    if (qq > 0 && xq * xq > best_gain * qq) best = {static_cast<float>(xq / qq), 0}, best_gain = xq * xq / qq;
  }
  return best;
}

// Sums of a weighted line through (code, x).
struct Line {
  double weight = 0, x = 0, q = 0, qq = 0, xq = 0;

  // The best scale and min, the min not below 0.
  Fit solve() const noexcept {
    const double determinant = weight * qq - q * q;
    if (determinant <= 0) return {};
    const double scale = (weight * xq - x * q) / determinant, min = (q * xq - qq * x) / determinant;
    if (min < 0) return {qq > 0 ? static_cast<float>(xq / qq) : 0.f, 0.f};
    return {static_cast<float>(scale), static_cast<float>(min)};
  }
};

// Codes 0 .. most and a min >= 0. Tries divisors around the one that spans the range.
Fit fit_with_min(const float* x, int n, int most) noexcept {
  const auto [lowest, highest] = std::minmax_element(x, x + n);
  const float low = std::min(*lowest, 0.f), range = *highest - low;
  if (!(range > 1e-30f)) return {0, -low};
  double squares = 0;
  for (int i = 0; i < n; ++i) squares += double{x[i]} * x[i];
  const double average = std::sqrt(squares / n);
  Fit best{range / static_cast<float>(most), -low};
  double best_error = -1;
  for (int step = -1; step <= 20; ++step) {
    const float inverse =
        (static_cast<float>(most) + (step < 0 ? 0.f : -1.f + 0.1f * static_cast<float>(step))) / range;
    int q[32];
    Line line;
    for (int i = 0; i < n; ++i) {
      q[i] = nearest((x[i] - low) * inverse, 0, most);
      const double weight = average + std::fabs(x[i]);
      line.weight += weight, line.x += weight * x[i], line.q += weight * q[i];
      line.qq += weight * q[i] * q[i], line.xq += weight * x[i] * q[i];
    }
    const Fit fit = line.solve();
    if (fit.scale <= 0) continue;
    double error = 0;
    for (int i = 0; i < n; ++i) {
      const double off = double{fit.scale} * q[i] - fit.min - x[i];
      error += (average + std::fabs(x[i])) * off * off;
    }
    if (best_error < 0 || error < best_error) best = fit, best_error = error;
  }
  return best;
}

// What codes are divided by: 0 for a scale of 0.
float inverse_of(float scale) noexcept { return std::fabs(scale) < 1e-30f ? 0.f : 1.f / scale; }

struct Quantised {
  int scale[16], min[16];  // as stored, [256 / size]
  int q[kSuperBlock];      // codes, shifted to begin with 0
};

// d at `p`; scales -most_scale .. most_scale - 1 of 16 elements, codes -most .. most - 1.
void quantise_symmetric(const float* x, int most, int most_scale, uint8_t* p, Quantised& out) noexcept {
  float scale[16];
  for (int j = 0; j < 16; ++j) scale[j] = fit_symmetric(x + 16 * j, 16, most).scale;
  const float extreme =
      *std::max_element(scale, scale + 16, [](float a, float b) { return std::fabs(a) < std::fabs(b); });
  const float d = stored(-extreme / static_cast<float>(most_scale), p);
  for (int j = 0; j < 16; ++j) {
    out.scale[j] = nearest(scale[j] * inverse_of(d), -most_scale, most_scale - 1);
    const float inverse = inverse_of(d * static_cast<float>(out.scale[j]));
    for (int i = 16 * j; i < 16 * j + 16; ++i) out.q[i] = nearest(x[i] * inverse, -most, most - 1) + most;
  }
}

// d at `p` and m after it; scales and mins 0 .. most_scale of `size` elements, codes 0 .. most.
void quantise_with_min(const float* x, int size, int most, int most_scale, uint8_t* p, Quantised& out) noexcept {
  const int count = kSuperBlock / size;
  Fit fit[16];
  float scale = 0, min = 0;
  for (int j = 0; j < count; ++j) {
    fit[j] = fit_with_min(x + size * j, size, most);
    scale = std::max(scale, fit[j].scale), min = std::max(min, fit[j].min);
  }
  const float d = stored(scale / static_cast<float>(most_scale), p),
              m = stored(min / static_cast<float>(most_scale), p + 2);
  for (int j = 0; j < count; ++j) {
    out.scale[j] = nearest(fit[j].scale * inverse_of(d), 0, most_scale);
    out.min[j] = nearest(fit[j].min * inverse_of(m), 0, most_scale);
    const float inverse = inverse_of(d * static_cast<float>(out.scale[j])), low = m * static_cast<float>(out.min[j]);
    for (int i = size * j; i < size * j + size; ++i) out.q[i] = nearest((x[i] + low) * inverse, 0, most);
  }
}

// The lowest 2 bits of the codes, as ref/dequantize.cc reads them.
void store_two_bits(const int* q, int shift, uint8_t* out) noexcept {
  for (int i = 0; i < kSuperBlock; ++i)
    out[i / 128 * 32 + i % 32] |= static_cast<uint8_t>((q[i] >> shift & 3) << i / 32 % 4 * 2);
}

// 6-bit scales and mins of kQ4_K and kQ5_K.
void store_scales(const Quantised& s, uint8_t* packed) noexcept {
  for (int j = 0; j < 4; ++j) {
    packed[j] = static_cast<uint8_t>(s.scale[j] | s.scale[j + 4] >> 4 << 6);
    packed[4 + j] = static_cast<uint8_t>(s.min[j] | s.min[j + 4] >> 4 << 6);
    packed[8 + j] = static_cast<uint8_t>((s.scale[j + 4] & 15) | (s.min[j + 4] & 15) << 4);
  }
}

void store_run_nibbles(const int* q, uint8_t* out) noexcept {
  for (int i = 0; i < kSuperBlock; ++i)
    out[i / 64 * 32 + i % 32] |= static_cast<uint8_t>((q[i] & 15) << i / 32 % 2 * 4);
}

// Bit `bit` of the code of run r goes to bit r.
void store_run_bits(const int* q, int bit, uint8_t* out) noexcept {
  for (int i = 0; i < kSuperBlock; ++i) out[i % 32] |= static_cast<uint8_t>((q[i] >> bit & 1) << i / 32);
}

void clear(DType type, uint8_t* block) noexcept { std::memset(block, 0, static_cast<size_t>(block_bytes(type))); }

}  // namespace

void quantize_q2_k(const float* x, uint8_t* block) noexcept {
  Quantised s;
  clear(DType::kQ2_K, block);
  quantise_with_min(x, 16, 3, 15, block + 80, s);
  for (int j = 0; j < 16; ++j) block[j] = static_cast<uint8_t>(s.scale[j] | s.min[j] << 4);
  store_two_bits(s.q, 0, block + 16);
}

void quantize_q3_k(const float* x, uint8_t* block) noexcept {
  Quantised s;
  clear(DType::kQ3_K, block);
  quantise_symmetric(x, 4, 32, block + 108, s);
  for (int j = 0; j < 16; ++j) {
    const int scale = s.scale[j] + 32;
    block[96 + j % 8] |= static_cast<uint8_t>((scale & 15) << j / 8 * 4);
    block[104 + j % 4] |= static_cast<uint8_t>(scale >> 4 << j / 4 * 2);
  }
  store_two_bits(s.q, 0, block + 32);
  store_run_bits(s.q, 2, block);
}

void quantize_q4_k(const float* x, uint8_t* block) noexcept {
  Quantised s;
  clear(DType::kQ4_K, block);
  quantise_with_min(x, 32, 15, 63, block, s);
  store_scales(s, block + 4);
  store_run_nibbles(s.q, block + 16);
}

void quantize_q5_k(const float* x, uint8_t* block) noexcept {
  Quantised s;
  clear(DType::kQ5_K, block);
  quantise_with_min(x, 32, 31, 63, block, s);
  store_scales(s, block + 4);
  store_run_bits(s.q, 4, block + 16);
  store_run_nibbles(s.q, block + 48);
}

void quantize_q6_k(const float* x, uint8_t* block) noexcept {
  Quantised s;
  clear(DType::kQ6_K, block);
  quantise_symmetric(x, 32, 128, block + 208, s);
  for (int j = 0; j < 16; ++j) block[192 + j] = static_cast<uint8_t>(s.scale[j]);
  for (int i = 0; i < kSuperBlock; ++i) {
    const int run = i / 32 % 4;
    block[i / 128 * 64 + run % 2 * 32 + i % 32] |= static_cast<uint8_t>((s.q[i] & 15) << run / 2 * 4);
  }
  store_two_bits(s.q, 4, block + 128);
}

}  // namespace lowkey::ref
