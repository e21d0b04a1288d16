#include "ops/cpu/sum_values.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/sum_values.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "ops/cpu/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lowkey {
namespace HWY_NAMESPACE {
namespace {

// D is a multiple of 8: no vector is cut short.
using D = hn::CappedTag<float, 8>;

template <typename T>
void add_rows(const std::byte* values, int64_t rows, int64_t row_bytes, int dim, float* sum) {
  const D d;
  for (int64_t r = 0; r < rows; ++r) {
    const T* row = reinterpret_cast<const T*>(values + r * row_bytes);
    for (int i = 0; i < dim; i += static_cast<int>(hn::Lanes(d)))
      hn::StoreU(hn::Add(hn::LoadU(d, sum + i), load_f32(d, row + i)), d, sum + i);
  }
}

void sum_values(const KvPages& kv, int head, int64_t begin, int64_t end, float* sum) {
  std::fill_n(sum, kv.head_dim, 0.f);
  if (begin >= end) return;
  const std::byte* values = kv.token(head, begin) + kv.token_bytes() / 2;
  const auto add = kv.dtype == DType::kF32   ? add_rows<float>
                   : kv.dtype == DType::kF16 ? add_rows<hwy::float16_t>
                                             : add_rows<hwy::bfloat16_t>;
  add(values, end - begin, kv.token_bytes(), kv.head_dim, sum);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lowkey
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lowkey {

HWY_EXPORT(sum_values);

void sum_values(const KvPages& kv, int head, int64_t begin, int64_t end, float* sum) noexcept {
  HWY_DYNAMIC_DISPATCH(sum_values)(kv, head, begin, end, sum);
}

}  // namespace lowkey
#endif
