// PackedRows: rows of R numbers in the bytes of a sequence's K and V rows, one after another and across their ends, in
// the cache's type. A row of the cache holds 2 D numbers of each KV head, so n short rows take n R / (2 KH D) of them.
#pragma once

#include "ops/kv_pages.h"

namespace lowkey {

struct PackedRows {
  const KvPages& kv;
  int64_t first;    // row of the cache with which they begin
  int64_t numbers;  // R, of a short row

  static int64_t cache_rows(int64_t count, int64_t numbers, int64_t row_numbers) noexcept {
    return (count * numbers + row_numbers - 1) / row_numbers;
  }
  // The first `count` numbers of short row i.
  void read(int64_t i, float* z, int64_t count) const noexcept;
  void write(int64_t i, const float* z, int64_t count) const noexcept;

 private:
  template <typename F>
  void pieces(int64_t i, int64_t count, F&& f) const noexcept;
};

}  // namespace lowkey
