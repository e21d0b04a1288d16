#include "ops/cpu/gemm.h"

#include <algorithm>
#include <cstring>

#include "base/isa.h"
#include "ops/cpu/gemv.h"

namespace lowkey {
namespace {

constexpr int64_t kBlockRows = 512;  // rows of x at once: bounds the scratch memory and keeps a slab's sums in L2
constexpr int64_t kSlabRows = 96;    // a multiple of every group
constexpr int64_t kRowsAhead = 8;    // rows of w to prefetch before they are widened

int64_t round_up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

// Some slabs for every thread, so that a slow one holds up the others little.
int64_t slab_rows(int64_t outputs, int threads, int group) {
  constexpr int64_t kSlabsPerThread = 6;
  return std::clamp(outputs / (threads * kSlabsPerThread) / group * group, int64_t{group}, kSlabRows);
}

// Of 32 columns, in a chunk.
int64_t blocks(const GemmKernel& kernel) { return kernel.chunk / kQuantBlock; }

// x as a kernel reads it: [K / chunk][T / panel] panels, and their scales.
struct Packed {
  const GemmKernel* kernel;
  int64_t rows, depth;  // T, K
  std::byte* data;
  float* scale;

  int64_t panels() const { return (rows + kernel->panel - 1) / kernel->panel; }
  int64_t panel_bytes() const { return blocks(*kernel) * kernel->panel * kernel->x_bytes; }
  int64_t panel_scales() const { return blocks(*kernel) * kernel->panel; }
  std::byte* panel(int64_t chunk, int64_t p) const { return data + (chunk * panels() + p) * panel_bytes(); }
  float* panel_scale(int64_t chunk, int64_t p) const {
    return kernel->scales ? scale + (chunk * panels() + p) * panel_scales() : nullptr;
  }
};

Packed pack(const Context& context, Scratch::Frame& frame, const GemmKernel& kernel, View x) {
  Packed packed{&kernel, x.rows(), x.columns(), nullptr, nullptr};
  const int64_t chunks = (packed.depth + kernel.chunk - 1) / kernel.chunk;
  packed.data = frame.take<std::byte>(chunks * packed.panels() * packed.panel_bytes());
  if (kernel.scales) packed.scale = frame.take<float>(chunks * packed.panels() * packed.panel_scales());
  context.threads.dynamic(packed.panels() * chunks, [&](int64_t i, int) {
    const int64_t chunk = i / packed.panels(), p = i % packed.panels(), begin = chunk * kernel.chunk;
    const int64_t depth = std::min<int64_t>(kernel.chunk, packed.depth - begin);
    for (int t = 0; t < kernel.panel; ++t) {
      const int64_t row = p * kernel.panel + t;
      const bool inside = row < packed.rows;
      kernel.pack(inside ? x.f32_row(row) + begin : nullptr, inside ? depth : 0, round_up(depth, kernel.depth_step), t,
                  packed.panel(chunk, p), packed.panel_scale(chunk, p));
    }
  });
  return packed;
}

// One cache line more than the rows need: at a power of two the rows of sums would share few cache sets.
int64_t sums_stride(const Packed& x) { return x.panels() * x.kernel->panel + 16; }

// What a thread works in.
struct Workspace {
  std::byte* weights;  // [slab, chunk]
  float* scale;        // [slab, chunk / 32]
  float* sums;         // [slab, T padded]
};

// out[t][n] = sums[n][t], count <= kSlabRows. Through a tile in L1: rows of out lie pages apart and are in no cache,
// and stores of whole vectors wait for more of their lines at once.
void store_transposed(const float* sums, int64_t stride, int64_t rows, int64_t count, float* out, int64_t outputs) {
  constexpr int64_t kTile = 16;  // a cache line of each row of sums
  float tile[kTile][kSlabRows];
  for (int64_t t = 0; t < rows; t += kTile) {
    const int64_t columns = std::min(kTile, rows - t);
    for (int64_t n = 0; n < count; ++n) {
      for (int64_t i = 0; i < columns; ++i) tile[i][n] = sums[n * stride + t + i];
    }
    for (int64_t i = 0; i < columns; ++i) std::copy_n(tile[i], count, out + (t + i) * outputs);
  }
}

// A slab's pieces of rows lie apart: the hardware's prefetchers do not see them as one stream.
void prefetch(const std::byte* begin, int64_t bytes) {
  const std::byte* line = begin - reinterpret_cast<uintptr_t>(begin) % kCacheLine;
  for (; line < begin + bytes; line += kCacheLine) __builtin_prefetch(line);
}

// Where row n of a widened slab begins: in its row, or in the first tile that holds a piece of it.
int64_t widened_row(const GemmKernel& kernel, int64_t n) {
  constexpr int64_t kTileColumnBytes = 64;
  const int64_t row_bytes = blocks(kernel) * kernel.w_bytes, within = n % kernel.tile_rows;
  return (n - within) * row_bytes + within * kTileColumnBytes;
}

// Rows [begin, begin + count) of a part's w.
void multiply_slab(const Packed& x, const MatmulPart& part, int64_t begin, int64_t count, const Workspace& space) {
  const GemmKernel& kernel = *x.kernel;
  const int64_t rows = round_up(count, kernel.group), stride = sums_stride(x);
  std::fill_n(space.sums, rows * stride, 0.f);
  for (int64_t chunk = 0; chunk * kernel.chunk < x.depth; ++chunk) {
    const int64_t k = chunk * kernel.chunk, depth = std::min<int64_t>(kernel.chunk, x.depth - k);
    const int64_t padded = round_up(depth, kernel.depth_step);
    for (int64_t n = 0; n < rows; ++n) {
      if (n + kRowsAhead < count) {
        prefetch(part.w.row(begin + n + kRowsAhead) + lowkey::row_bytes(part.w.dtype, k),
                 lowkey::row_bytes(part.w.dtype, depth));
      }
      kernel.widen(part.w.dtype, n < count ? part.w.row(begin + n) : nullptr, k, n < count ? depth : 0, padded,
                   space.weights + widened_row(kernel, n), space.scale + n * blocks(kernel));
    }
    for (int64_t p = 0; p < x.panels(); p += kernel.panels_together) {
      const int64_t panels = std::min<int64_t>(kernel.panels_together, x.panels() - p);
      kernel.multiply({x.panel(chunk, p), x.panel_scale(chunk, p), space.weights, space.scale, part.w.dtype, panels,
                       rows, padded, space.sums + p * kernel.panel, stride});
    }
  }
  store_transposed(space.sums, stride, x.rows, count, part.out.f32() + begin, part.w.rows());
}

// The parts that one kernel serves, for at most kBlockRows rows of x.
void multiply_parts(const Context& context, const GemmKernel& kernel, View x, const MatmulPart* parts, int count) {
  int64_t outputs = 0;
  for (int i = 0; i < count; ++i) outputs += &gemm_kernel(parts[i].w.dtype) == &kernel ? parts[i].w.rows() : 0;
  if (outputs == 0) return;
  Scratch::Frame frame(context.scratch);
  const Packed packed = pack(context, frame, kernel, x);
  const int threads = context.threads.count();
  const int64_t slab = slab_rows(outputs, threads, kernel.group);
  const int64_t slab_blocks = slab * blocks(kernel);
  const int64_t sums = slab * sums_stride(packed);
  std::byte* all_weights = frame.take<std::byte>(threads * slab_blocks * kernel.w_bytes);
  float* all_scales = frame.take<float>(threads * slab_blocks);
  float* all_sums = frame.take<float>(threads * sums);
  int64_t slabs = 0;
  for (int i = 0; i < count; ++i) slabs += (parts[i].w.rows() + slab - 1) / slab;
  context.threads.dynamic(slabs, [&](int64_t index, int thread) {
    int part = 0;
    for (int64_t n; index >= (n = (parts[part].w.rows() + slab - 1) / slab); ++part) index -= n;
    if (&gemm_kernel(parts[part].w.dtype) != &kernel) return;
    const int64_t begin = index * slab;
    multiply_slab(packed, parts[part], begin, std::min(slab, parts[part].w.rows() - begin),
                  {all_weights + thread * slab_blocks * kernel.w_bytes, all_scales + thread * slab_blocks,
                   all_sums + thread * sums});
  });
}

}  // namespace

const GemmKernel& gemm_kernel(DType type) noexcept {
  if (active_isa() == Isa::kBaseline) return gemm_f32();
  if (active_isa() == Isa::kAmx && type != DType::kF32) return gemm_amx();
  if (takes_bytes(type)) return gemm_codes();
  return takes_words(type) ? gemm_i16() : gemm_f32();
}

void gemm(const Context& context, View x, const MatmulPart* parts, int count) {
  for (int64_t t = 0; t < x.rows(); t += kBlockRows) {
    const int64_t end = std::min(t + kBlockRows, x.rows());
    MatmulPart block[kMaxMatmulParts];
    for (int i = 0; i < count; ++i) block[i] = {parts[i].w, parts[i].out.slice_rows(t, end)};
    for (int i = 0; i < count; ++i) {
      const GemmKernel& kernel = gemm_kernel(parts[i].w.dtype);
      const auto same = [&](const MatmulPart& other) { return &gemm_kernel(other.w.dtype) == &kernel; };
      if (std::none_of(parts, parts + i, same)) multiply_parts(context, kernel, x.slice_rows(t, end), block, count);
    }
  }
}

}  // namespace lowkey
