#include "attention/atp_packed.h"

#include <algorithm>
#include <cstring>

#include "ops/quantize.h"

namespace lowkey {
namespace {

constexpr int64_t kBlockBytes = 34;  // of kQ8_0, the longer one

}  // namespace

int64_t PackedFormat::block_begin(int64_t block) const noexcept {
  const int64_t eights = std::min(block, wide());
  return eights * block_bytes(DType::kQ8_0) + (block - eights) * block_bytes(DType::kQ4_0);
}

// f(bytes, done, n): so many bytes lie there, from [begin, begin + count) of all short rows in sequence.
template <typename F>
void PackedRows::pieces(int64_t begin, int64_t count, F&& f) const noexcept {
  const int64_t part = kv.token_bytes(), row = part * kv.kv_heads;
  for (int64_t done = 0, n; done < count; done += n) {
    const int64_t at = begin + done, in_row = at % row, in_part = in_row % part;
    n = std::min(count - done, part - in_part);
    f(kv.token(static_cast<int>(in_row / part), first + at / row) + in_part, done, n);
  }
}

void PackedRows::read(int64_t i, float* z, int64_t count) const noexcept {
  if (format.bits == 16) {
    const int64_t size = row_bytes(kv.dtype, 1);
    return pieces(i * format.numbers * size, count * size, [&](const std::byte* from, int64_t done, int64_t n) {
      dequantize_row(kv.dtype, from, z + done / size, n / size);
    });
  }
  std::byte block[kBlockBytes];
  float numbers[kQuantBlock];
  for (int64_t b = 0, begin = 0; begin < count; ++b, begin += kQuantBlock) {
    const DType type = format.block_type(b);
    pieces(i * format.bytes() + format.block_begin(b), block_bytes(type),
           [&](const std::byte* from, int64_t done, int64_t n) { std::memcpy(block + done, from, n); });
    dequantize_row(type, block, numbers, kQuantBlock);
    std::copy_n(numbers, std::min<int64_t>(kQuantBlock, count - begin), z + begin);
  }
}

void PackedRows::write(int64_t i, const float* z, int64_t count) const noexcept {
  if (format.bits == 16) {
    const int64_t size = row_bytes(kv.dtype, 1);
    return pieces(i * format.numbers * size, count * size, [&](std::byte* to, int64_t done, int64_t n) {
      quantize_row(kv.dtype, z + done / size, to, n / size);
    });
  }
  std::byte block[kBlockBytes];
  for (int64_t b = 0, begin = 0; begin < count; ++b, begin += kQuantBlock) {
    const DType type = format.block_type(b);
    float numbers[kQuantBlock] = {};
    std::copy_n(z + begin, std::min<int64_t>(kQuantBlock, count - begin), numbers);
    quantize_row(type, numbers, block, kQuantBlock);
    pieces(i * format.bytes() + format.block_begin(b), block_bytes(type),
           [&](std::byte* to, int64_t done, int64_t n) { std::memcpy(to, block + done, n); });
  }
}

}  // namespace lowkey
