// PackedRows: rows of R numbers in the bytes of a sequence's K and V rows, one after another and across their ends. A
// row of the cache holds 2 D numbers of each KV head, so n short rows in the cache's own type take n R / (2 KH D) of
// them.
#pragma once

#include "ops/kv_pages.h"

namespace lowkey {

// The numbers of a short row, largest first, and how they lie. 16 bits: in the cache's type. Fewer: in blocks of 32, 8
// bits as kQ8_0; 4 bits: the first quarter as kQ8_0, where nearly all of the size is, the others as kQ4_0.
struct PackedFormat {
  int64_t numbers;  // R
  int bits = 16;    // 16, 8 or 4

  int64_t blocks() const noexcept { return (numbers + kQuantBlock - 1) / kQuantBlock; }
  DType block_type(int64_t block) const noexcept { return block < wide() ? DType::kQ8_0 : DType::kQ4_0; }
  // Where a block begins, in bytes of its row.
  int64_t block_begin(int64_t block) const noexcept;
  // Of a row, in a cache of 16 bits; in one of 32 bits, rows in blocks take as many of its rows, and half of their
  // bytes.
  int64_t bytes() const noexcept { return bits == 16 ? 2 * numbers : block_begin(blocks()); }

 private:
  int64_t wide() const noexcept { return bits == 8 ? blocks() : (blocks() + 3) / 4; }  // blocks of kQ8_0
};

struct PackedRows {
  const KvPages& kv;
  int64_t first;  // row of the cache with which they begin
  PackedFormat format;

  // Rows of the cache, of `row_numbers` numbers, that `count` short rows take.
  static int64_t cache_rows(int64_t count, const PackedFormat& format, int64_t row_numbers) noexcept {
    return (count * format.bytes() + 2 * row_numbers - 1) / (2 * row_numbers);
  }
  // The first `count` numbers of short row i.
  void read(int64_t i, float* z, int64_t count) const noexcept;
  void write(int64_t i, const float* z, int64_t count) const noexcept;

 private:
  template <typename F>
  void pieces(int64_t begin, int64_t count, F&& f) const noexcept;
};

}  // namespace lowkey
