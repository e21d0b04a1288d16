// bf16 tiles of AMX: 32 rows of w times 32 rows of x in four accumulator tiles of 16 x 16 f32. w is widened into
// tiles of 16 rows x 32 columns, each one contiguous KiB; x, interleaved in pairs, is what the instruction wants of
// the other side. Two panels of x (32 KiB) stay in L1 while the groups of w (16 KiB each) pass, so that L2 delivers
// half of what the tiles read. Functions carry their target themselves, so that nothing inline in this file is compiled
// for AMX and then shared with other files.
#include <immintrin.h>

#include <cstring>

#include "ops/cpu/gemm.h"
#include "ops/quantize.h"

#define LOWKEY_AMX __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16,amx-tile,amx-bf16")))

namespace lowkey {
namespace {

constexpr int kTile = 16;          // rows of a tile, and columns of 4 bytes
constexpr int kStep = 32;          // bf16 columns of a tile of w
constexpr int kGroup = 2 * kTile;  // rows of w
constexpr int kPanel = 2 * kTile;  // rows of x
constexpr int kChunk = 256;        // a panel takes 16 KiB of the 48 KiB of L1, two with a group of w all of it
constexpr int kTogether = 2;       // panels

struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

// Pads floats with zeros and rounds them to bf16, kStep of them every `stride` elements of out.
LOWKEY_AMX void to_padded_bf16(float (&floats)[kChunk], int64_t depth, int64_t padded_depth, uint16_t* out,
                               int64_t stride) {
  std::memset(floats + depth, 0, static_cast<size_t>(padded_depth - depth) * sizeof(float));
  for (int64_t i = 0; i < padded_depth; i += kStep, out += stride) {
    const __m512bh both = _mm512_cvtne2ps_pbh(_mm512_loadu_ps(floats + i + 16), _mm512_loadu_ps(floats + i));
    std::memcpy(out, &both, sizeof both);
  }
}

void pack(const float* x, int64_t depth, int64_t padded_depth, int t, void* panel, float*) noexcept {
  float floats[kChunk];
  uint16_t row[kChunk];
  if (depth > 0) std::memcpy(floats, x, static_cast<size_t>(depth) * sizeof(float));
  to_padded_bf16(floats, depth, padded_depth, row, kStep);
  auto* out = static_cast<uint16_t*>(panel) + 2 * t;
  for (int64_t k = 0; k < padded_depth; k += 2) std::memcpy(out + k * kPanel, row + k, 2 * sizeof(uint16_t));
}

LOWKEY_AMX void store_scaled(__m512i low, __m512i high, __m512 scale, uint16_t* out) {
  const __m512 a = _mm512_mul_ps(scale, _mm512_cvtepi32_ps(low)), b = _mm512_mul_ps(scale, _mm512_cvtepi32_ps(high));
  const __m512bh both = _mm512_cvtne2ps_pbh(b, a);
  std::memcpy(out, &both, sizeof both);
}

// f16 scale at p, in all lanes.
LOWKEY_AMX __m512 load_scale(const std::byte* p) {
  uint16_t bits;
  std::memcpy(&bits, p, sizeof bits);
  return _mm512_cvtph_ps(_mm256_set1_epi16(static_cast<short>(bits)));
}

LOWKEY_AMX void widen_q8_0(const std::byte* block, int64_t depth, uint16_t* out) {
  for (int64_t k = 0; k < depth; k += kQuantBlock, block += 34) {
    const auto* q = reinterpret_cast<const __m128i*>(block + 2);
    store_scaled(_mm512_cvtepi8_epi32(_mm_loadu_si128(q)), _mm512_cvtepi8_epi32(_mm_loadu_si128(q + 1)),
                 load_scale(block), out + k * kTile);
  }
}

LOWKEY_AMX void widen_q4_0(const std::byte* block, int64_t depth, uint16_t* out) {
  const __m512i mask = _mm512_set1_epi32(15), eight = _mm512_set1_epi32(8);
  for (int64_t k = 0; k < depth; k += kQuantBlock, block += 18) {
    const __m512i bytes = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(block + 2)));
    store_scaled(_mm512_sub_epi32(_mm512_and_si512(bytes, mask), eight),
                 _mm512_sub_epi32(_mm512_srli_epi32(bytes, 4), eight), load_scale(block), out + k * kTile);
  }
}

void widen(DType type, const std::byte* row, int64_t begin, int64_t depth, int64_t padded_depth, void* out,
           float*) noexcept {
  auto* weights = static_cast<uint16_t*>(out);
  if (type == DType::kBF16 && depth == padded_depth) {
    for (int64_t k = 0; k < depth; k += kStep)
      std::memcpy(weights + k * kTile, row + (begin + k) * 2, kStep * sizeof(uint16_t));
    return;
  }
  if (type == DType::kQ8_0 && depth > 0) return widen_q8_0(row + row_bytes(type, begin), depth, weights);
  if (type == DType::kQ4_0 && depth > 0) return widen_q4_0(row + row_bytes(type, begin), depth, weights);
  float floats[kChunk];
  if (depth > 0) dequantize_row(type, row + row_bytes(type, begin), floats, depth);
  to_padded_bf16(floats, depth, padded_depth, weights, kTile * kStep);
}

// Tiles 0-3 sums (w 0, w 1) x (x 0, x 1), 4-5 w, 6-7 x.
LOWKEY_AMX void multiply_group(const uint16_t* w, const uint16_t* x, int64_t depth, float* sums, int64_t stride) {
  const int64_t sum_bytes = stride * 4, w_bytes = kStep * 2, x_bytes = kPanel * 4;
  float* lower = sums + kTile * stride;
  _tile_loadd(0, sums, sum_bytes);
  _tile_loadd(1, sums + kTile, sum_bytes);
  _tile_loadd(2, lower, sum_bytes);
  _tile_loadd(3, lower + kTile, sum_bytes);
  for (int64_t k = 0; k < depth; k += kStep) {
    _tile_loadd(4, w + k * kTile, w_bytes);
    _tile_loadd(6, x + k * kPanel, x_bytes);
    _tile_loadd(7, x + k * kPanel + 2 * kTile, x_bytes);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, w + kTile * kChunk + k * kTile, w_bytes);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, sums, sum_bytes);
  _tile_stored(1, sums + kTile, sum_bytes);
  _tile_stored(2, lower, sum_bytes);
  _tile_stored(3, lower + kTile, sum_bytes);
}

LOWKEY_AMX void multiply(const GemmPanel& a) noexcept {
  TileConfig config;
  for (int tile = 0; tile < 8; ++tile) config.row_bytes[tile] = 64, config.rows[tile] = kTile;
  __asm__ volatile("" : : "m"(config) : "memory");  // GCC 12 takes the stores for dead otherwise
  _tile_loadconfig(&config);
  for (int64_t n = 0; n < a.rows; n += kGroup) {
    for (int64_t p = 0; p < a.panels; ++p) {
      multiply_group(static_cast<const uint16_t*>(a.w) + n * kChunk,
                     static_cast<const uint16_t*>(a.x) + p * kChunk * kPanel, a.depth,
                     a.sums + n * a.sums_stride + p * kPanel, a.sums_stride);
    }
  }
  _tile_release();
}

}  // namespace

const GemmKernel& gemm_amx() noexcept {
  static constexpr GemmKernel kKernel{kPanel,          kGroup,          kChunk, kTogether, kTile, kStep,
                                      2 * kQuantBlock, 2 * kQuantBlock, false,  pack,      widen, multiply};
  return kKernel;
}

}  // namespace lowkey
