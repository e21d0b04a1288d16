// A tile of 64 tokens at a time, in strips of two vectors of tokens against four heads: sums stay in registers, each
// column is widened once for all of them. The columns of a tile lie D lines apart, which no hardware foresees, so those
// of the next tile are asked for on the way, a part of them in each strip.
#include "ops/cpu/column_scan.h"

#include <hwy/cache_control.h>

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/column_scan.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "ops/cpu/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lowkey {
namespace HWY_NAMESPACE {
namespace {

constexpr int kTile = kColumnTileTokens;
constexpr int kLineBytes = 64;

// out[h * kTile + i] for kHeads heads from first_head on and the strip of tokens from `at` on.
template <int kHeads, class D, typename T>
HWY_INLINE void strip(D d, const ColumnScan& a, const T* tile, int at, int first_head, float* out) {
  const int lanes = static_cast<int>(hn::Lanes(d));
  hn::Vec<D> sum[kHeads][2];
  for (auto& s : sum) s[0] = s[1] = hn::Zero(d);
  for (int r = 0; r < a.count; ++r) {
    const T* column = tile + int64_t{a.columns[r]} * kTile + at;
    const auto low = load_f32(d, column), high = load_f32(d, column + lanes);
    for (int h = 0; h < kHeads; ++h) {
      const auto q = hn::Set(d, a.q[r * a.heads + first_head + h]);
      sum[h][0] = hn::MulAdd(low, q, sum[h][0]);
      sum[h][1] = hn::MulAdd(high, q, sum[h][1]);
    }
  }
  for (int h = 0; h < kHeads; ++h) {
    hn::StoreU(sum[h][0], d, out + h * kTile + at);
    hn::StoreU(sum[h][1], d, out + h * kTile + at + lanes);
  }
}

template <class D, typename T>
void scan_tile(D d, const ColumnScan& a, const T* tile, const T* next, int first_head, float* out) {
  const int width = 2 * static_cast<int>(hn::Lanes(d)), heads = std::min(a.heads - first_head, 4);
  for (int at = 0; at < kTile; at += width) {
    if (first_head == 0)
      for (int r = at / width; r < a.count; r += kTile / width)
        for (int64_t i = 0; i < kTile * static_cast<int64_t>(sizeof(T)); i += kLineBytes)
          hwy::Prefetch(reinterpret_cast<const std::byte*>(next + int64_t{a.columns[r]} * kTile) + i);
    switch (heads) {
      case 4:
        strip<4>(d, a, tile, at, first_head, out);
        break;
      case 3:
        strip<3>(d, a, tile, at, first_head, out);
        break;
      case 2:
        strip<2>(d, a, tile, at, first_head, out);
        break;
      default:
        strip<1>(d, a, tile, at, first_head, out);
    }
  }
}

template <typename T>
void scan(const ColumnScan& a) {
  const hn::ScalableTag<float> d;
  float out[4 * kTile];
  const auto tile = [&](int64_t t) { return reinterpret_cast<const T*>(key_column_tile(*a.kv, a.plane, a.head, t)); };
  for (int64_t t = a.begin; t < a.end; t += kTile) {
    const T *here = tile(t), *next = t + kTile < a.end ? tile(t + kTile) : here;
    const int64_t count = std::min<int64_t>(kTile, a.end - t);
    for (int h = 0; h < a.heads; h += 4) {
      scan_tile(d, a, here, next, h, out);
      for (int i = 0; i < std::min(a.heads - h, 4); ++i)
        std::copy_n(out + i * kTile, count, a.scores + (h + i) * a.stride + t);
    }
  }
}

void column_scan(const ColumnScan& a) {
  switch (a.kv->dtype) {
    case DType::kF32:
      return scan<float>(a);
    case DType::kF16:
      return scan<hwy::float16_t>(a);
    default:
      return scan<hwy::bfloat16_t>(a);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lowkey
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lowkey {

HWY_EXPORT(column_scan);

void column_scan(const ColumnScan& a) noexcept { HWY_DYNAMIC_DISPATCH(column_scan)(a); }

}  // namespace lowkey
#endif
