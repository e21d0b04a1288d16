#include "attention/lone_contexts.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "ops/matmul.h"

namespace lowkey {
namespace {

// x [T, K] times w [N, K], all in scratch beside what `floats` has more. The scratch must not grow.
void expect_room(int64_t rows, int64_t depth, int64_t outputs, int64_t floats) {
  const LoneContexts lone(Context(2), floats);
  for (int thread : {0, 1}) {
    const Context& context = lone[thread];
    const size_t reserved = context.scratch.capacity();
    Scratch::Frame frame(context.scratch);
    const View x = frame.take_f32({rows, depth}), w = frame.take_f32({outputs, depth});
    const View out = frame.take_f32({rows, outputs});
    frame.take<float>(std::max<int64_t>(0, floats - x.elements() - w.elements() - out.elements()));
    std::fill_n(x.f32(), x.elements(), 1.f), std::fill_n(w.f32(), w.elements(), 1.f);
    matmul(context, {x, w, out});
    EXPECT_EQ(out.f32()[out.elements() - 1], static_cast<float>(depth));
    EXPECT_EQ(context.scratch.capacity(), reserved) << rows << ' ' << depth << ' ' << outputs;
  }
}

// The sizes of atp's linear form: K^T V over up to 1024 tokens, and up to 256 rows times a matrix of a head.
TEST(LoneContexts, HaveRoomForProducts) {
  for (int64_t dim : {8, 48, 128, 256, 512}) {
    for (int64_t tokens : {1, 300, 1024}) expect_room(dim, tokens, dim, 2 * dim * tokens + dim * dim + 2 * dim);
    for (int64_t rows : {1, 9, 256}) expect_room(rows, dim, dim, 2 * rows * dim + dim * dim);
  }
}

}  // namespace
}  // namespace lowkey
