// The cosines and sines of a token are computed once, in f64 so that a position of a million keeps every bit that f32
// can hold, and then serve all its heads.
#include "ops/rope.h"

#include "base/error.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/rope.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <cmath>
#include <cstring>

HWY_BEFORE_NAMESPACE();
namespace lowkey {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
constexpr int64_t kLanes = static_cast<int64_t>(hn::MaxLanes(D()));

void turn_half(float* x, const float* cos, const float* sin, int64_t half) {
  const D d;
  int64_t i = 0;
  for (; i + kLanes <= half; i += kLanes) {
    const auto u = hn::LoadU(d, x + i), w = hn::LoadU(d, x + half + i);
    const auto c = hn::LoadU(d, cos + i), s = hn::LoadU(d, sin + i);
    hn::StoreU(hn::NegMulAdd(w, s, hn::Mul(u, c)), d, x + i);
    hn::StoreU(hn::MulAdd(u, s, hn::Mul(w, c)), d, x + half + i);
  }
  for (; i < half; ++i) {
    const float u = x[i], w = x[half + i];
    x[i] = u * cos[i] - w * sin[i], x[half + i] = w * cos[i] + u * sin[i];
  }
}

void turn_interleaved(float* x, const float* cos, const float* sin, int64_t half) {
  int64_t i = 0;
#if HWY_TARGET != HWY_SCALAR
  const D d;
  for (; i + kLanes <= half; i += kLanes) {
    hn::Vec<D> u, w;
    hn::LoadInterleaved2(d, x + 2 * i, u, w);
    const auto c = hn::LoadU(d, cos + i), s = hn::LoadU(d, sin + i);
    hn::StoreInterleaved2(hn::NegMulAdd(w, s, hn::Mul(u, c)), hn::MulAdd(u, s, hn::Mul(w, c)), d, x + 2 * i);
  }
#endif
  for (; i < half; ++i) {
    const float u = x[2 * i], w = x[2 * i + 1];
    x[2 * i] = u * cos[i] - w * sin[i], x[2 * i + 1] = w * cos[i] + u * sin[i];
  }
}

// Tokens [begin, end). turns: [R], cosines then sines of one token.
void turn_tokens(const RopeArgs& a, int64_t begin, int64_t end, float* turns) {
  const int64_t heads = a.x.dim(1), half = a.inverse_frequency.columns();
  const auto turn = a.layout == RopeLayout::kHalf ? turn_half : turn_interleaved;
  float *cos = turns, *sin = turns + half;
  for (int64_t t = begin; t < end; ++t) {
    for (int64_t i = 0; i < half; ++i) {
      const double angle = double{a.inverse_frequency.f32()[i]} * a.positions[static_cast<size_t>(t)];
      cos[i] = static_cast<float>(a.amplitude * std::cos(angle)),
      sin[i] = static_cast<float>(a.amplitude * std::sin(angle));
    }
    for (int64_t h = 0; h < heads; ++h) turn(a.x.f32_row(t * heads + h), cos, sin, half);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lowkey
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lowkey {
namespace {

HWY_EXPORT(turn_tokens);

void check(const RopeArgs& a) {
  LK_REQUIRE(a.x.rank == 3 && a.x.dtype == DType::kF32, kInvalidArgument, "[rope] x={}, must be f32 [T, H, D]",
             a.x.describe());
  LK_REQUIRE(static_cast<int64_t>(a.positions.size()) == a.x.dim(0), kInvalidArgument,
             "[rope] {} positions for {} tokens", a.positions.size(), a.x.dim(0));
  LK_REQUIRE(a.inverse_frequency.dtype == DType::kF32 && a.inverse_frequency.rank == 1 &&
                 a.inverse_frequency.columns() * 2 <= a.x.dim(2),
             kInvalidArgument, "[rope] inverse_frequency={}, must be f32 of at most {}", a.inverse_frequency.describe(),
             a.x.dim(2) / 2);
}

}  // namespace

void rope(const Context& context, const RopeArgs& a) {
  check(a);
  constexpr int64_t kGrain = 8;  // tokens worth waking a thread for
  const int64_t tokens = a.x.dim(0), dim = a.x.dim(2);
  Scratch::Frame frame(context.scratch);
  const int64_t line = (dim + 15) / 16 * 16;  // whole cache lines for each thread
  float* turns = frame.take<float>(line * context.threads.count());
  const auto kernel = HWY_DYNAMIC_DISPATCH(turn_tokens);
  if (tokens <= kGrain) return kernel(a, 0, tokens, turns);
  context.threads.split(tokens, kGrain,
                        [&](int64_t begin, int64_t end, int thread) { kernel(a, begin, end, turns + thread * line); });
}

}  // namespace lowkey
#endif
