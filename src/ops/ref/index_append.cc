#include "ops/index_append.h"

#include <vector>

#include "ops/ref/index_code.h"

namespace lowkey::ref {
namespace {

// rest: what is left of z, [R]; the nearest entry is taken away from it.
int encode(const IndexNibble& nibble, double* rest) noexcept {
  int best = 0;
  double least = 0;
  for (int e = 0; e < 16; ++e) {
    double distance = 0;
    for (int c = 0; c < nibble.width; ++c) {
      const double difference = rest[nibble.begin + c] - nibble.entries[c * 16 + e];
      distance += difference * difference;
    }
    if (e == 0 || distance < least) best = e, least = distance;
  }
  for (int c = 0; c < nibble.width; ++c) rest[nibble.begin + c] -= nibble.entries[c * 16 + best];
  return best;
}

}  // namespace

void index_append(const IndexAppendArgs& a) noexcept {
  const int64_t tokens = a.k.dim(0), dim = a.kv.head_dim, first = a.kv.length - tokens;
  for (int h = 0; h < a.kv.kv_heads; ++h) {
    const IndexHead& head = a.index.heads[static_cast<size_t>(h)];
    std::vector<double> z(static_cast<size_t>(head.rotation.dim(0)));
    for (int64_t t = 0; t < tokens; ++t) {
      const float* k = a.k.f32_row(t * a.kv.kv_heads + h);
      for (size_t r = 0; r < z.size(); ++r) {
        z[r] = 0;
        const float* row = head.rotation.f32_row(static_cast<int64_t>(r));
        for (int64_t d = 0; d < dim; ++d) z[r] += double{row[d]} * (double{k[d]} - head.mean[d]);
      }
      for (int n = 0; n < a.index.nibbles(); ++n)
        index_code(a.kv, a.plane, h, a.index.nibbles(), first + t, n)
            .set(encode(head.nibbles[static_cast<size_t>(n)], z.data()));
    }
  }
}

}  // namespace lowkey::ref
