#include "attention/cache_columns.h"

#include <algorithm>

#include "ops/quantize.h"

namespace lowkey {

void cache_columns(const Context& context, const CacheColumnsArgs& a) {
  constexpr int64_t kTokens = 16;  // a cache line of out
  const int64_t numbers = int64_t{2} * a.kv.head_dim, tokens = a.out.columns();
  const int64_t blocks = (tokens + kTokens - 1) / kTokens, heads = a.out.rows() / numbers;
  Scratch::Frame frame(context.scratch);
  float* buffers = frame.take<float>(context.threads.count() * kTokens * numbers);
  context.threads.dynamic(blocks * heads, [&](int64_t i, int thread) {
    const int64_t head = i / blocks, first = i % blocks * kTokens, count = std::min(kTokens, tokens - first);
    float* rows = buffers + thread * kTokens * numbers;  // [count, 2 D]
    for (int64_t t = 0; t < count; ++t)
      dequantize_row(a.kv.dtype, a.kv.token(a.first_head + static_cast<int>(head), a.begin + first + t),
                     rows + t * numbers, numbers);
    for (int64_t d = 0; d < numbers; ++d) {
      float* column = a.out.f32_row(head * numbers + d) + first;
      for (int64_t t = 0; t < count; ++t) column[t] = rows[t * numbers + d];
    }
  });
}

}  // namespace lowkey
