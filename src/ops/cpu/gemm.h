// gemm: many rows of x against w [N, K], for matmul. Vector lanes run along the rows of x, which are interleaved
// once ("panels"), and weights are broadcast: so w is only widened row by row, never transposed, and no repacked
// copy of it lives longer than a slab in cache. Loop nest, outermost first:
//
//   slab    some tens of rows of w, on one thread: sums [slab, T] stay in its L2 cache
//   chunk   `chunk` columns of K: the slab's weights are widened into [slab, chunk], in L1 or L2
//   panels  `panels_together` panels of `panel` rows of x each: [chunk, panel] stays in L1 while the slab passes
//   group   `group` rows of w: group x panel sums in registers
#pragma once

#include <cstdint>

#include "base/context.h"
#include "base/view.h"
#include "ops/matmul.h"

namespace lowkey {

// Arrays of a kernel: "words" are one f32, or two or four consecutive k of one row. x_scale and w_scale are for
// gemm_i16.
struct GemmPanel {
  const void* x;         // [panels][words of a chunk, panel]
  const float* x_scale;  // [panels][chunk / 32, panel]
  const void* w;         // [rows, chunk], row stride `chunk` whatever depth is; or in tiles, see tile_rows
  const float* w_scale;  // [rows, chunk / 32]
  DType type;            // that w was widened from
  int64_t panels;        // <= panels_together
  int64_t rows;          // of w; a multiple of group
  int64_t depth;         // columns of K in this chunk, a multiple of depth_step
  float* sums;           // [rows, sums_stride], these panels' columns; added to
  int64_t sums_stride;
};

// One way to multiply, as the processor allows.
struct GemmKernel {
  int panel, group, chunk;
  int panels_together;
  int tile_rows;         // 1: widened rows lie one after another; else in tiles of so many rows by 64 bytes
  int depth_step;        // K is padded with zeros to a multiple of it
  int w_bytes, x_bytes;  // of a block of 32 columns of one row, inside the kernel
  bool scales;           // and a float beside each
  // Row t of a panel from x [depth] f32, columns past depth up to padded_depth zero.
  void (*pack)(const float* x, int64_t depth, int64_t padded_depth, int t, void* panel, float* scale) noexcept;
  // Columns [begin, begin + depth) of one row of w, zeros up to padded_depth. `out` is the row's first byte.
  void (*widen)(DType, const std::byte* row, int64_t begin, int64_t depth, int64_t padded_depth, void* out,
                float* scale) noexcept;
  void (*multiply)(const GemmPanel&) noexcept;
};

const GemmKernel& gemm_f32() noexcept;    // any weights; exact products of f32
const GemmKernel& gemm_i16() noexcept;    // kQ8_0, Isa::kAvx2 and up
const GemmKernel& gemm_codes() noexcept;  // weights of up to 6 bits, Isa::kAvx2 and up
const GemmKernel& gemm_amx() noexcept;    // both sides rounded to bf16; Isa::kAmx

// The kernel that matmul takes for weights of a type under active_isa().
const GemmKernel& gemm_kernel(DType) noexcept;

inline constexpr int kMaxMatmulParts = 8;

// Trusted arguments, those of matmul_parts; count <= kMaxMatmulParts.
void gemm(const Context&, View x, const MatmulPart* parts, int count);

}  // namespace lowkey
