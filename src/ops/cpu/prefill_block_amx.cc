// The same transposed computation as prefill_block.cc with both products on AMX tiles: 16 x 32 bf16 times 32 x 16 bf16
// into 16 x 16 f32. A panel is 32 queries, two tiles across.
//   scores [keys, queries] = K [keys, D] q^T; weights = 2^(scores - max) in bf16; out^T [D, queries] += V^T weights
// A right operand holds pairs of its inner index side by side: [inner / 2, queries, 2]. Only V must be transposed.
//
// Error: q, k, weights and v are rounded to bf16 (relative 2^-9 each), sums are f32. Hence
//     |out - exact| <= 2^-9 (4 scale max sum|q||k| + 2) sum p|v| + the terms of the f32 kernel.
#include <hwy/base.h>
#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numbers>

#include "base/half.h"
#include "ops/cpu/prefill_block.h"

// Attributes rather than flags for the file: with flags, inline functions of the headers would be compiled for AMX
// as well, and the linker could pick those copies for processors without it.
HWY_PUSH_ATTRIBUTES("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx2,fma,f16c,amx-tile,amx-bf16")

namespace lowkey {
namespace {

constexpr int kKeys = 128;   // keys of a block
constexpr int kPanel = 32;   // queries of a panel
constexpr int kTile = 16;    // rows of a tile, and its columns of 32 bits
constexpr int kInner = 32;   // bf16 numbers in a row of a tile
constexpr int kVectors = 2;  // of f32 across a panel

int64_t padded(int64_t dim) { return (dim + kInner - 1) / kInner * kInner; }

struct Panel {
  uint16_t* q;  // [Dp / 2, kPanel, 2] bf16, times scale * log2(e)
  float* out;   // [Dp, kPanel]
  float* max;   // [kPanel]
  float* sum;   // [kPanel]
};

// Dp = padded(D); what lies between D and Dp is zero.
struct Workspace {
  int64_t dim;        // Dp
  uint16_t* keys;     // [kKeys, Dp] bf16
  uint16_t* rows;     // [kKeys, Dp] bf16, values as they come
  uint16_t* values;   // [Dp, kKeys] bf16
  uint16_t* weights;  // [kKeys / 2, kPanel, 2] bf16
  float* scores;      // [kKeys, kPanel]
  float* rescale;     // [kPanel]
  std::byte* panels;

  Workspace(std::byte* scratch, int64_t padded_dim) : dim(padded_dim) {
    keys = reinterpret_cast<uint16_t*>(scratch);
    rows = keys + kKeys * dim;
    values = rows + kKeys * dim;
    weights = values + kKeys * dim;
    scores = reinterpret_cast<float*>(weights + kKeys * kPanel);
    rescale = scores + kKeys * kPanel;
    panels = reinterpret_cast<std::byte*>(rescale + kPanel);
  }
  static int64_t panel_bytes(int64_t dim) { return kPanel * (6 * dim + 8); }
  static int64_t bytes(int64_t dim, int64_t panels) {
    return 2 * kKeys * (3 * dim + kPanel) + 4 * kPanel * (kKeys + 1) + panels * panel_bytes(dim);
  }
  Panel panel(int64_t index) const {
    std::byte* at = panels + index * panel_bytes(dim);
    auto* out = reinterpret_cast<float*>(at + 2 * kPanel * dim);
    return {reinterpret_cast<uint16_t*>(at), out, out + kPanel * dim, out + kPanel * (dim + 1)};
  }
};

struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

// The tile intrinsics of GCC 12 do not say that they read memory: stores must not sink below them.
inline void finish_stores() { __asm__ volatile("" ::: "memory"); }

// All eight tiles are full ones.
void configure_tiles() {
  TileConfig config;
  std::fill_n(config.row_bytes, 8, uint16_t{64});
  std::fill_n(config.rows, 8, uint8_t{kTile});
  finish_stores();
  _tile_loadconfig(&config);
}

// Tiles 0 to 3 += a [2 * kTile, inner] * b [inner / 2, kPanel, 2]; the rows of a lie a_stride elements apart.
inline void multiply(const uint16_t* a, int64_t a_stride, const uint16_t* b, int64_t inner) {
  finish_stores();
  for (int64_t i = 0; i < inner; i += kInner) {
    _tile_loadd(4, a + i, a_stride * 2);
    _tile_loadd(5, a + kTile * a_stride + i, a_stride * 2);
    _tile_loadd(6, b + i * kPanel, kPanel * 4);
    _tile_loadd(7, b + i * kPanel + kTile * 2, kPanel * 4);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
}

inline void store_sums(float* c) {
  _tile_stored(0, c, kPanel * 4);
  _tile_stored(1, c + kTile, kPanel * 4);
  _tile_stored(2, c + kTile * kPanel, kPanel * 4);
  _tile_stored(3, c + kTile * kPanel + kTile, kPanel * 4);
}

void scores(const Workspace& w, const Panel& p, int keys) {
  for (int k = 0; k < keys; k += 2 * kTile) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    multiply(w.keys + k * w.dim, w.dim, p.q, w.dim);
    store_sums(w.scores + k * kPanel);
  }
}

void values(const Workspace& w, const Panel& p, int keys) {
  const int64_t inner = (keys + kInner - 1) / kInner * kInner;
  for (int64_t d = 0; d < w.dim; d += 2 * kTile) {
    float* c = p.out + d * kPanel;
    for (int row = 0; row < 2 * kTile; ++row) {
      for (int v = 0; v < kVectors; ++v) {
        float* x = c + row * kPanel + v * kTile;
        _mm512_store_ps(x, _mm512_mul_ps(_mm512_load_ps(x), _mm512_load_ps(w.rescale + v * kTile)));
      }
    }
    finish_stores();
    _tile_loadd(0, c, kPanel * 4);
    _tile_loadd(1, c + kTile, kPanel * 4);
    _tile_loadd(2, c + kTile * kPanel, kPanel * 4);
    _tile_loadd(3, c + kTile * kPanel + kTile, kPanel * 4);
    multiply(w.values + d * kKeys, kKeys, w.weights, inner);
    store_sums(c);
  }
}

// 2^x for x <= 0, zero below -126; the polynomial of exp2_nonpositive.
inline __m512 exp2_nonpositive(__m512 x) {
  const __m512 n = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 f = _mm512_sub_ps(x, n);
  __m512 p = _mm512_set1_ps(0.001326472731307149f);
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.009671512991189957f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.05550733581185341f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.24022242426872253f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.6931470036506653f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.f));
  return _mm512_maskz_scalef_ps(_mm512_cmp_ps_mask(x, _mm512_set1_ps(-126.f), _CMP_GE_OQ), p, n);
}

// 16 queries: scores to weights, in pairs of keys; the maximum and the sum move on. Weights of keys that fill up the
// last tile are zero.
void softmax(const Workspace& w, const Panel& p, int keys, int vector) {
  alignas(64) uint16_t order[2 * kTile];  // a0 b0 a1 b1 ... from a0 a1 ... b0 b1 ...
  for (int i = 0; i < kTile; ++i)
    order[2 * i] = static_cast<uint16_t>(i), order[2 * i + 1] = static_cast<uint16_t>(kTile + i);
  const __m512i interleave = _mm512_load_si512(order);
  const float* column = w.scores + vector * kTile;
  const __m512 old = _mm512_load_ps(p.max + vector * kTile);
  __m512 max = old;
  for (int k = 0; k < keys; ++k) max = _mm512_max_ps(max, _mm512_load_ps(column + k * kPanel));
  __m512 sum = _mm512_setzero_ps();
  for (int k = 0; k < (keys + kInner - 1) / kInner * kInner; k += 2) {
    __m512 a = _mm512_setzero_ps(), b = a;
    if (k < keys) a = exp2_nonpositive(_mm512_sub_ps(_mm512_load_ps(column + k * kPanel), max));
    if (k + 1 < keys) b = exp2_nonpositive(_mm512_sub_ps(_mm512_load_ps(column + (k + 1) * kPanel), max));
    sum = _mm512_add_ps(sum, _mm512_add_ps(a, b));
    const auto pairs = (__m512i)_mm512_cvtne2ps_pbh(b, a);
    _mm512_store_si512(w.weights + (k / 2 * kPanel + vector * kTile) * 2, _mm512_permutexvar_epi16(interleave, pairs));
  }
  const __m512 rescale = exp2_nonpositive(_mm512_sub_ps(old, max));
  const __m512 total = _mm512_fmadd_ps(_mm512_load_ps(p.sum + vector * kTile), rescale, sum);
  _mm512_store_ps(w.rescale + vector * kTile, rescale);
  _mm512_store_ps(p.max + vector * kTile, max);
  _mm512_store_ps(p.sum + vector * kTile, total);
}

// Scores of keys that a query does not see become -infinity, so their weights are exactly zero.
void mask(const PrefillRows& rows, const Workspace& w, int64_t begin_row, int64_t begin_key, int keys) {
  for (int i = 0; i < kPanel; ++i) {
    const int64_t hidden = std::min<int64_t>(keys, rows.first(begin_row + i) - begin_key);
    const int64_t visible = std::max<int64_t>(0, rows.position(begin_row + i) - begin_key + 1);
    for (int64_t k = 0; k < hidden; ++k) w.scores[k * kPanel + i] = -std::numeric_limits<float>::infinity();
    for (int64_t k = visible; k < keys; ++k) w.scores[k * kPanel + i] = -std::numeric_limits<float>::infinity();
  }
}

// out[column][row] = in[row][column], 16 x 16 numbers of 32 bits.
inline void transpose(__m512i* r) {
  __m512i t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {  // now r[i + c] has, in its 128-bit lane l, column 4 l + c of rows i to i + 3
    r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  for (int c = 0; c < 4; ++c) {
    const __m512i even_ab = _mm512_shuffle_i32x4(r[c], r[4 + c], 0x88);  // lanes a0 a2 b0 b2
    const __m512i odd_ab = _mm512_shuffle_i32x4(r[c], r[4 + c], 0xdd);
    const __m512i even_cd = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0x88);
    const __m512i odd_cd = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0xdd);
    t[c] = _mm512_shuffle_i32x4(even_ab, even_cd, 0x88);
    t[4 + c] = _mm512_shuffle_i32x4(odd_ab, odd_cd, 0x88);
    t[8 + c] = _mm512_shuffle_i32x4(even_ab, even_cd, 0xdd);
    t[12 + c] = _mm512_shuffle_i32x4(odd_ab, odd_cd, 0xdd);
  }
  for (int i = 0; i < 16; ++i) r[i] = t[i];
}

// w.values = w.rows transposed: 32 keys by 16 dimensions at a time, as pairs of keys.
void transpose_values(const Workspace& w, int keys) {
  for (int k = 0; k < keys; k += kInner) {
    for (int64_t d = 0; d < w.dim; d += kTile) {
      __m512i pair[kTile];
      for (int i = 0; i < kTile; ++i) {
        const uint16_t* row = w.rows + (k + 2 * i) * w.dim + d;
        const __m512i a = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(row)));
        const __m512i b = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(row + w.dim)));
        pair[i] = _mm512_or_si512(a, _mm512_slli_epi32(b, 16));
      }
      transpose(pair);
      for (int i = 0; i < kTile; ++i) _mm512_store_si512(w.values + (d + i) * kKeys + k, pair[i]);
    }
  }
}

void to_bf16(DType dtype, const std::byte* x, uint16_t* out, int64_t n) {
  if (dtype == DType::kBF16) {
    std::memcpy(out, x, static_cast<size_t>(n) * 2);
    return;
  }
  for (int64_t i = 0; i < n; i += 8) {
    const __m256 value = _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x + i * 2)));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i), (__m128i)_mm256_cvtneps_pbh(value));
  }
}

void bytes_to_bf16(const std::byte* x, const std::byte* scale_at, uint16_t* out, int64_t n) {
  float scale;
  std::memcpy(&scale, scale_at, sizeof(scale));
  for (int64_t i = 0; i < n; i += 8) {
    const __m256i wide = _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(x + i)));
    const __m256 value = _mm256_mul_ps(_mm256_set1_ps(scale), _mm256_cvtepi32_ps(wide));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i), (__m128i)_mm256_cvtneps_pbh(value));
  }
}

// As bytes_to_bf16, [D / 2] pairs of values: scale, least.
void nibbles_to_bf16(const std::byte* x, const std::byte* scale_at, uint16_t* out, int64_t n) {
  float scale[2];
  std::memcpy(scale, scale_at, sizeof(scale));
  const __m256 least = _mm256_set1_ps(scale[1]), step = _mm256_set1_ps(scale[0]);
  const auto store = [&](__m256i wide, uint16_t* at) {
    const __m256 value = _mm256_fmadd_ps(step, _mm256_cvtepi32_ps(wide), least);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(at), (__m128i)_mm256_cvtneps_pbh(value));
  };
  for (int64_t i = 0; i < n / 2; i += 8) {
    const __m256i wide = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(x + i)));
    store(_mm256_and_si256(wide, _mm256_set1_epi32(15)), out + i);
    store(_mm256_srli_epi32(wide, 4), out + n / 2 + i);
  }
}

// Keys [begin, begin + count) and zeros up to whole tiles.
void convert_rows(const KvPages& kv, int head, int64_t begin, int count, const Workspace& w) {
  const int64_t dim = kv.head_dim;
  for (int i = 0; i < count; ++i) {
    const std::byte* row = kv.token(head, begin + i);
    if (has_scales(kv.dtype)) {
      const std::byte* scales = row + kv.scale_offset();
      bytes_to_bf16(row, scales, w.keys + i * w.dim, dim);
      const auto values = kv.dtype == DType::kI8 ? bytes_to_bf16 : nibbles_to_bf16;
      values(row + dim, scales + sizeof(float), w.rows + i * w.dim, dim);
      continue;
    }
    to_bf16(kv.dtype, row, w.keys + i * w.dim, dim);
    to_bf16(kv.dtype, row + 2 * dim, w.rows + i * w.dim, dim);
  }
  for (int i = count; i % kInner != 0; ++i) {
    std::fill_n(w.keys + i * w.dim, dim, uint16_t{0});
    std::fill_n(w.rows + i * w.dim, dim, uint16_t{0});
  }
  transpose_values(w, count);
}

void start_panel(const PrefillBlock& b, const PrefillRows& rows, int64_t begin, const Workspace& w, const Panel& p) {
  const float scale = b.args->scale * std::numbers::log2e_v<float>;
  std::fill_n(p.q, w.dim * kPanel, uint16_t{0});
  std::fill_n(p.out, w.dim * kPanel, 0.f);
  std::fill_n(p.max, kPanel, -std::numeric_limits<float>::infinity());
  std::fill_n(p.sum, kPanel, 0.f);
  const int count = static_cast<int>(std::min<int64_t>(kPanel, b.end - begin));
  for (int i = 0; i < count; ++i) {
    const float* q = b.args->q.f32() + rows.offset(begin + i);
    for (int64_t d = 0; d < rows.dim; ++d) p.q[(d / 2 * kPanel + i) * 2 + d % 2] = f32_to_bf16(q[d] * scale);
  }
}

void finish_panel(const PrefillBlock& b, const PrefillRows& rows, int64_t begin, const Panel& p) {
  const int count = static_cast<int>(std::min<int64_t>(kPanel, b.end - begin));
  for (int i = 0; i < count; ++i) {
    float* out = b.args->out.f32() + rows.offset(begin + i);
    const float inverse = 1.f / p.sum[i];
    for (int64_t d = 0; d < rows.dim; ++d) out[d] = p.out[d * kPanel + i] * inverse;
    if (b.args->log2_sums) b.args->log2_sums.f32()[rows.offset(begin + i) / rows.dim] = p.max[i] + std::log2(p.sum[i]);
  }
}

int64_t panels_of(int64_t rows) { return (rows + kPanel - 1) / kPanel; }

}  // namespace

int64_t prefill_block_amx_scratch(int64_t rows, int64_t head_dim) noexcept {
  return Workspace::bytes(padded(head_dim), panels_of(rows));
}

void prefill_block_amx(const PrefillBlock& b) noexcept {
  const KvPages& kv = b.args->kv;
  const PrefillRows rows(*b.args, b.head);
  const Workspace w(b.scratch, padded(rows.dim));
  const int64_t panels = panels_of(b.end - b.begin), visible = rows.position(b.end - 1) + 1;
  std::fill_n(w.keys, 2 * kKeys * w.dim, uint16_t{0});  // and w.rows: what lies between D and Dp stays zero
  for (int64_t i = 0; i < panels; ++i) start_panel(b, rows, b.begin + i * kPanel, w, w.panel(i));
  configure_tiles();
  // Blocks of keys begin at the same places whatever the block of rows, and so add up in the same order.
  for (int64_t key = rows.first(b.begin) / kKeys * kKeys; key < visible; key += kKeys) {
    const int keys = static_cast<int>(std::min<int64_t>(kKeys, visible - key));
    convert_rows(kv, b.head, key, keys, w);
    for (int64_t i = 0; i < panels; ++i) {
      const int64_t begin = b.begin + i * kPanel;
      const int64_t last_row = std::min(begin + kPanel, b.end) - 1;
      if (rows.position(last_row) < key || rows.first(begin) >= key + keys) continue;  // none of them sees these keys
      const Panel p = w.panel(i);
      scores(w, p, keys);
      if (key + keys - 1 > rows.position(begin) || key < rows.first(last_row)) mask(rows, w, begin, key, keys);
      for (int v = 0; v < kVectors; ++v) softmax(w, p, keys, v);
      values(w, p, keys);
    }
  }
  _tile_release();
  for (int64_t i = 0; i < panels; ++i) finish_panel(b, rows, b.begin + i * kPanel, w.panel(i));
}

}  // namespace lowkey

HWY_POP_ATTRIBUTES
