#include "ops/score_index.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include "ops/ref/index_code.h"

namespace lowkey::ref {
namespace {

// Score in powers of two of each entry of each nibble for one query: [nibbles, 16].
std::vector<double> tables(const IndexHead& head, const float* q, float scale) noexcept {
  std::vector<double> u(static_cast<size_t>(head.query_rotation.dim(0))), out(head.nibbles.size() * 16);
  for (size_t r = 0; r < u.size(); ++r) {
    const float* row = head.query_rotation.f32_row(static_cast<int64_t>(r));
    for (int64_t d = 0; d < head.query_rotation.dim(1); ++d) u[r] += double{row[d]} * q[d];
  }
  for (size_t i = 0; i < out.size(); ++i) {
    const IndexNibble& nibble = head.nibbles[i / 16];
    for (int c = 0; c < nibble.width; ++c)
      out[i] += u[static_cast<size_t>(nibble.begin + c)] * nibble.entries[static_cast<size_t>(c) * 16 + i % 16];
    out[i] *= scale * std::numbers::log2e;
  }
  return out;
}

}  // namespace

void score_index(const ScoreIndexArgs& a) noexcept {
  const int nibbles = a.index.nibbles();
  for (int64_t n = 0; n < a.q.dim(0); ++n) {
    const KvPages& kv = a.kv[static_cast<size_t>(n)];
    const int64_t group = a.q.dim(1) / kv.kv_heads;
    for (int h = 0; h < kv.kv_heads; ++h) {
      float* keys = a.keys.f32_row(n * kv.kv_heads + h);
      std::fill_n(keys, kv.length, -std::numeric_limits<float>::infinity());
      for (int64_t g = 0; g < group; ++g) {
        const auto table =
            tables(a.index.heads[static_cast<size_t>(h)], a.q.f32_row(n * a.q.dim(1) + h * group + g), a.scale);
        std::vector<double> score(static_cast<size_t>(kv.length));
        for (int64_t t = 0; t < kv.length; ++t)
          for (int i = 0; i < nibbles; ++i)
            score[static_cast<size_t>(t)] +=
                table[static_cast<size_t>(i * 16 + index_code(kv, a.plane, h, nibbles, t, i).get())];
        const double max = *std::max_element(score.begin(), score.end());
        double sum = 0;
        for (double s : score) sum += std::exp2(s - max);
        for (int64_t t = 0; t < kv.length; ++t)
          keys[t] = std::max(keys[t], static_cast<float>(score[static_cast<size_t>(t)] - max - std::log2(sum)));
      }
    }
  }
}

}  // namespace lowkey::ref
