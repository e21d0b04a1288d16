#include "ops/matmul.h"

#include <algorithm>

#include "base/error.h"
#include "base/isa.h"
#include "ops/cpu/gemm.h"
#include "ops/cpu/gemv.h"

namespace lowkey {
namespace {

// The most rows of x that GEMV serves; with more it pays to widen a block of weights once for all of them.
int64_t gemv_max_rows() noexcept { return active_isa() == Isa::kAmx ? 4 : 8; }

void require(View x, const MatmulPart& part) {
  const auto& [w, out] = part;
  LK_REQUIRE(x.dtype == DType::kF32 && out.dtype == DType::kF32, kInvalidArgument,
             "[matmul] x {} and out {}, must be f32", x.describe(), out.describe());
  LK_REQUIRE(is_weight(w.dtype), kInvalidArgument, "[matmul] w {}, no type of weights", w.describe());
  LK_REQUIRE(w.rank == 2 && w.columns() == x.columns() && out.rows() == x.rows() && out.columns() == w.rows(),
             kInvalidArgument, "[matmul] x {}, w {}, out {}: must be [T, K], [N, K], [T, N]", x.describe(),
             w.describe(), out.describe());
  LK_REQUIRE(x.columns() % block_elements(w.dtype) == 0, kInvalidArgument,
             "[matmul] K={}, must be a multiple of {} for {}", x.columns(), block_elements(w.dtype), name(w.dtype));
}

// Outputs [begin, end) of all parts laid end to end.
void gemv_span(const Activations& a, const MatmulPart* parts, int count, int64_t row, int64_t begin,
               int64_t end) noexcept {
  int64_t first = 0;
  for (int i = 0; i < count; ++i) {
    const auto& [w, out] = parts[i];
    const int64_t lower = std::max<int64_t>(begin - first, 0), upper = std::min(end - first, w.rows());
    if (lower < upper) gemv(a, {w.row(0), w.dtype, lower, upper, out.f32_row(row), w.rows()});
    first += w.rows();
  }
}

// x in 16 bits.
void add_words(Scratch::Frame& frame, Activations& a) {
  const int64_t blocks = a.depth / kQuantBlock;
  auto* q = frame.take<int16_t>(a.rows * a.depth);
  auto* scale = frame.take<float>(a.rows * blocks);
  for (int64_t t = 0; t < a.rows; ++t) quantize_words(a.x + t * a.depth, q + t * a.depth, scale + t * blocks, a.depth);
  a.words = q, a.word_scale = scale;
}

// x in 8 bits.
void add_bytes(Scratch::Frame& frame, Activations& a) {
  const int64_t groups = a.byte_groups();
  auto* bytes = frame.take<ByteGroup>(a.rows * groups);
  for (int64_t t = 0; t < a.rows; ++t) quantize_bytes(a.x + t * a.depth, bytes + t * groups, a.depth);
  a.bytes = bytes;
}

}  // namespace

void matmul_parts(const Context& context, View x, const MatmulPart* parts, int count) {
  LK_REQUIRE(count >= 1 && count <= kMaxMatmulParts, kInvalidArgument, "[matmul] {} parts, must be 1 to {}", count,
             kMaxMatmulParts);
  int64_t outputs = 0;
  bool words = false, bytes = false;
  for (int i = 0; i < count; ++i) {
    require(x, parts[i]);
    outputs += parts[i].w.rows();
    words |= takes_words(parts[i].w.dtype);
    bytes |= takes_bytes(parts[i].w.dtype);
  }
  if (x.rows() > gemv_max_rows()) return gemm(context, x, parts, count);
  Scratch::Frame frame(context.scratch);
  const int64_t rows = x.rows();
  Activations all{.x = x.f32(), .rows = rows, .depth = x.columns()};
  if (words) add_words(frame, all);
  if (bytes) add_bytes(frame, all);
  constexpr int64_t kGrain = 16;  // rows of w: time enough to be worth handing out
  context.threads.guided(outputs, kGrain, [&](int64_t begin, int64_t end, int) {
    constexpr int64_t kStep = 16;  // rows of w that stay in cache while all rows of x pass
    for (int64_t n = begin; n < end; n += kStep) {
      for (int64_t t = 0; t < rows; t += kGemvRows) {
        Activations a = all.from_row(t);
        a.rows = std::min<int64_t>(kGemvRows, rows - t);
        gemv_span(a, parts, count, t, n, std::min(n + kStep, end));
      }
    }
  });
}

void matmul(const Context& context, const MatmulArgs& a) {
  const MatmulPart part{a.w, a.out};
  matmul_parts(context, a.x, &part, 1);
}

}  // namespace lowkey
