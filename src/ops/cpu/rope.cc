#include "ops/rope.h"

#include <cmath>

#include "base/error.h"

namespace lowkey {
namespace {

void check(const RopeArgs& a) {
  LK_REQUIRE(a.x.rank == 3 && a.x.dtype == DType::kF32 && a.x.dim(2) % 2 == 0, kInvalidArgument,
             "[rope] x={}, must be f32 [T, H, D] with an even D", a.x.describe());
  LK_REQUIRE(static_cast<int64_t>(a.positions.size()) == a.x.dim(0), kInvalidArgument,
             "[rope] {} positions for {} tokens", a.positions.size(), a.x.dim(0));
  LK_REQUIRE(a.inverse_frequency.dtype == DType::kF32 && a.inverse_frequency.elements() * 2 == a.x.dim(2),
             kInvalidArgument, "[rope] inverse_frequency={}, must be f32 [{}]", a.inverse_frequency.describe(),
             a.x.dim(2) / 2);
}

}  // namespace

void rope(const Context& context, const RopeArgs& a) {
  check(a);
  const int64_t tokens = a.x.dim(0), heads = a.x.dim(1), half = a.x.dim(2) / 2;
  Scratch::Frame frame(context.scratch);
  float* turns = frame.take<float>(tokens * half * 2);  // [T, {cos, sin}, D/2]
  const bool split = a.layout == RopeLayout::kHalf;
  const auto rows = [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      float *cos = turns + t * 2 * half, *sin = cos + half;
      for (int64_t i = 0; i < half; ++i) {
        const double angle = double{a.inverse_frequency.f32()[i]} * a.positions[static_cast<size_t>(t)];
        cos[i] = static_cast<float>(std::cos(angle)), sin[i] = static_cast<float>(std::sin(angle));
      }
      for (int64_t h = 0; h < heads; ++h) {
        float* x = a.x.f32_row(t * heads + h);
        for (int64_t i = 0; i < half; ++i) {
          float &first = x[split ? i : 2 * i], &second = x[split ? i + half : 2 * i + 1];
          const float u = first, w = second;
          first = u * cos[i] - w * sin[i], second = w * cos[i] + u * sin[i];
        }
      }
    }
  };
  if (tokens < 16) return rows(0, tokens, 0);
  context.threads.split(tokens, 1, rows);
}

}  // namespace lowkey
