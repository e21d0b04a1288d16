#include "attention/atp_softmax.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "linalg/truncated_svd.h"
#include "ops/matmul.h"
#include "ops/quantize.h"

namespace lowkey {

AtpSoftmax::AtpSoftmax(const AtpOptions& options) : Atp(options) {
  LK_REQUIRE(!options.causal || rank(options.width) <= options.chunk, kInvalidArgument,
             "[atp] form=softmax: r={} principal keys, must be at most chunk={}", rank(options.width), options.chunk);
}

void AtpSoftmax::shorten(const LayerStep& step, const Shorten& what) const {
  const Context& context = step.context;
  const KvPages& kv = what.kv;
  const int64_t width = step.shape.width, dim = step.shape.head_dim, sink = options().sink;
  const int64_t keys = rank(what.end - sink), old = what.begin == 0 ? 0 : keys, first = sink,
                count = old + what.end - std::max(what.begin, sink);
  const auto scale = [&](int64_t end) { return std::sqrt(static_cast<float>(end - sink)); };
  const PlaneRows inputs{kv, kAtpInputs, width + 1, kv.page_tokens};
  Scratch::Frame frame(context.scratch);
  // The rows of the cache from the first principal key to the last token that leaves lie one after another.
  const View x = frame.take_f32({count, width}), mass = frame.take_f32({count, 1});
  for (int64_t i = 0; i < count; ++i) {
    std::copy_n(inputs.row(first + i), width, x.f32_row(i));
    *mass.f32_row(i) = i < old ? inputs.row(first + i)[width] : 1.f;
  }
  LowRank f = truncated_svd(context, x, {.rank = keys});
  // U^T [R, count], signs as the sum of u over all tokens says; rows of zeros where x has fewer directions.
  const View across = frame.take_f32({keys, count});
  std::fill_n(across.f32(), across.elements(), 0.f);
  for (int64_t r = 0; r < f.rank; ++r) {
    double sum = 0;
    for (int64_t i = 0; i < count; ++i) {
      const double u = f.coefficients[static_cast<size_t>(i * f.rank + r)] / f.spectrum[static_cast<size_t>(r)];
      across.f32_row(r)[i] = static_cast<float>(u);
      sum += u * *mass.f32_row(i);
    }
    const float sign = sum < 0 ? -1.f : 1.f;
    for (int64_t i = 0; i < count; ++i) across.f32_row(r)[i] *= sign;
    float* row = inputs.row(first + r);
    for (int64_t c = 0; c < width; ++c)
      row[c] = static_cast<float>(sign * f.spectrum[static_cast<size_t>(r)]) *
               f.directions[static_cast<size_t>(r * width + c)];
    row[width] = static_cast<float>(std::abs(sum));
  }
  for (int64_t r = f.rank; r < keys; ++r) std::fill_n(inputs.row(first + r), width + 1, 0.f);
  const View rows = frame.take_f32({2 * dim, count}), made = frame.take_f32({keys, 2 * dim});
  float* row = frame.take<float>(2 * dim);
  for (int head = 0; head < kv.kv_heads; ++head) {
    for (int64_t i = 0; i < count; ++i) {
      dequantize_row(kv.dtype, kv.token(head, first + i), row, 2 * dim);
      for (int64_t d = 0; d < 2 * dim; ++d) rows.f32_row(d)[i] = i < old ? scale(what.begin) * row[d] : row[d];
    }
    matmul(context, {across, rows, made});
    for (int64_t r = 0; r < keys; ++r) {
      for (int64_t d = 0; d < 2 * dim; ++d) made.f32_row(r)[d] /= scale(what.end);
      quantize_row(kv.dtype, made.f32_row(r), kv.token(head, first + r), 2 * dim);
    }
  }
  close_rows(step, kv, first + count, first + keys, what.tokens - removed(what.begin));
}

}  // namespace lowkey
