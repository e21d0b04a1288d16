// Four keys at a time against as many queries as the registers hold sums for, so each key is read from memory once.
#include "ops/cpu/score_rows.h"

#include <hwy/cache_control.h>

#include <algorithm>
#include <bit>
#include <type_traits>

#include "base/arena.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/score_rows.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "ops/cpu/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lowkey {
namespace HWY_NAMESPACE {
namespace {

constexpr int kTile = 4;       // keys at a time
constexpr int64_t kAhead = 8;  // keys from the one worked on to the one asked for

template <int kHeads, class D, typename T>
HWY_INLINE void score_tile(D d, const T* const* k, const float* q, int dims, float* const* out) {
  hn::Vec<D> sum[kHeads][kTile];
  for (auto& row : sum)
    for (auto& s : row) s = hn::Zero(d);
  for (int i = 0; i < dims; i += static_cast<int>(hn::Lanes(d))) {
    for (int t = 0; t < kTile; ++t) {
      const auto key = load_f32(d, k[t] + i);
      for (int h = 0; h < kHeads; ++h) sum[h][t] = hn::MulAdd(key, hn::LoadU(d, q + h * dims + i), sum[h][t]);
    }
  }
  for (int h = 0; h < kHeads; ++h) store_sums_of_4(d, sum[h][0], sum[h][1], sum[h][2], sum[h][3], out[h]);
}

template <class D, typename T>
void score_heads(D d, const ScoreRows& a, const T* const* k, int64_t at, int valid) {
  float tail[4][kTile];
  float* out[4];
  for (int h = 0; h < a.heads; h += 2) {
    const int heads = std::min(a.heads - h, 2);
    for (int i = 0; i < heads; ++i) out[i] = valid == kTile ? a.scores + (h + i) * a.stride + at : tail[i];
    const float* q = a.q + int64_t{h} * a.dims;
    heads == 2 ? score_tile<2>(d, k, q, a.dims, out) : score_tile<1>(d, k, q, a.dims, out);
    if constexpr (std::is_same_v<T, int8_t>) {
      for (int t = 0; t < kTile; ++t)
        for (int i = 0; i < heads; ++i) out[i][t] *= row_float(k[t], a.kv->scale_offset(), 0);
    }
    if (valid == kTile) continue;
    for (int i = 0; i < heads; ++i) std::copy_n(tail[i], valid, a.scores + (h + i) * a.stride + at);
  }
}

template <class D, typename T>
void score_run(D d, const ScoreRows& a) {
  const KvPages& kv = *a.kv;
  const auto row = [&](int64_t t) { return kv.token(a.head, a.ids ? a.ids[t] : t); };
  const int64_t bytes = a.dims * static_cast<int64_t>(sizeof(T));
  for (int64_t at = a.begin; at < a.end; at += kTile) {
    const int valid = static_cast<int>(std::min<int64_t>(kTile, a.end - at));
    const T* keys[kTile];
    for (int t = 0; t < kTile; ++t) {
      keys[t] = reinterpret_cast<const T*>(row(at + std::min(t, valid - 1)));
      const std::byte* later = row(std::min(at + t + kAhead, a.end - 1));
      for (int64_t i = 0; i < bytes; i += static_cast<int64_t>(kCacheLine)) hwy::Prefetch(later + i);
    }
    score_heads<D, T>(d, a, keys, at, valid);
  }
}

template <typename T>
void score_type(const ScoreRows& a) {
  const hn::ScalableTag<float> d;
  if (a.dims % static_cast<int>(hn::Lanes(d)) == 0) return score_run<decltype(d), T>(d, a);
  score_run<hn::CappedTag<float, 8>, T>({}, a);
}

void score_rows(const ScoreRows& a) {
  switch (a.kv->dtype) {
    case DType::kF32:
      return score_type<float>(a);
    case DType::kF16:
      return score_type<hwy::float16_t>(a);
    case DType::kI8:
    case DType::kI8I4:
      return score_type<int8_t>(a);
    default:
      return score_type<hwy::bfloat16_t>(a);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lowkey
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lowkey {

HWY_EXPORT(score_rows);

void score_rows(const ScoreRows& a) noexcept { HWY_DYNAMIC_DISPATCH(score_rows)(a); }

}  // namespace lowkey
#endif
