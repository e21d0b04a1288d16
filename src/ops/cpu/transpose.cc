// Tiles of a cache line by a cache line, through a buffer in L1: both sides are read and written in whole lines.
#include "ops/transpose.h"

#include <algorithm>

#include "base/error.h"

namespace lowkey {
namespace {

constexpr int64_t kTile = 16;

void transpose_tile(View x, View out, int64_t row, int64_t column) noexcept {
  float tile[kTile][kTile];
  const int64_t rows = std::min(kTile, x.rows() - row), columns = std::min(kTile, x.columns() - column);
  for (int64_t t = 0; t < rows; ++t) {
    const float* from = x.f32_row(row + t) + column;
    for (int64_t c = 0; c < columns; ++c) tile[c][t] = from[c];
  }
  for (int64_t c = 0; c < columns; ++c) std::copy_n(tile[c], rows, out.f32_row(column + c) + row);
}

}  // namespace

void transpose(const Context& context, const TransposeArgs& a) {
  LK_REQUIRE(a.x.dtype == DType::kF32 && a.out.dtype == DType::kF32 && a.x.rank == 2 && a.out.rank == 2 &&
                 a.out.dim(0) == a.x.dim(1) && a.out.dim(1) == a.x.dim(0),
             kInvalidArgument, "[transpose] x {} and out {}, must be f32 [T, C] and [C, T]", a.x.describe(),
             a.out.describe());
  // A thread takes columns of x that are rows of out, many tokens at a time: the lines of both stay in L2 meanwhile.
  constexpr int64_t kTokens = 256;
  const int64_t blocks = (a.x.rows() + kTokens - 1) / kTokens, tiles = (a.x.columns() + kTile - 1) / kTile;
  context.threads.dynamic(blocks * tiles, [&](int64_t i, int) {
    const int64_t begin = i / tiles * kTokens, end = std::min(begin + kTokens, a.x.rows());
    for (int64_t row = begin; row < end; row += kTile) transpose_tile(a.x, a.out, row, i % tiles * kTile);
  });
}

}  // namespace lowkey
