#include "attention/atp_packed.h"

#include <algorithm>

#include "ops/quantize.h"

namespace lowkey {

// f(bytes, begin, n): numbers [begin, begin + n) of the row lie there.
template <typename F>
void PackedRows::pieces(int64_t i, int64_t count, F&& f) const noexcept {
  const int64_t part = 2 * int64_t{kv.head_dim}, row = part * kv.kv_heads;
  for (int64_t begin = 0, n; begin < count; begin += n) {
    const int64_t at = i * numbers + begin, in_row = at % row, in_part = in_row % part;
    n = std::min(count - begin, part - in_part);
    f(kv.token(static_cast<int>(in_row / part), first + at / row) + row_bytes(kv.dtype, in_part), begin, n);
  }
}

void PackedRows::read(int64_t i, float* z, int64_t count) const noexcept {
  pieces(i, count,
         [&](const std::byte* from, int64_t begin, int64_t n) { dequantize_row(kv.dtype, from, z + begin, n); });
}

void PackedRows::write(int64_t i, const float* z, int64_t count) const noexcept {
  pieces(i, count, [&](std::byte* to, int64_t begin, int64_t n) { quantize_row(kv.dtype, z + begin, to, n); });
}

}  // namespace lowkey
