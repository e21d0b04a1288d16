// KvPages: where the keys and values of one sequence lie, for one layer. kv/ owns and fills it; kernels
// read it and know nothing else of the cache.
//
// A page holds P consecutive tokens of one KV head. A token is one row [K: D | V: D] of dtype, so that a
// selected token is one contiguous read (512 bytes at D = 128, 16 bit). A row of kI8 ends with two f32, what its keys
// and what its values are multiplied by: [K: D | V: D | scale of K | scale of V]. A row of kI8I4 has values in 4 bits,
// whole steps up from the least of them: [K: D | V: D / 2 | scale of K | scale of V | least of V]; byte i of V holds
// value i in its low and value D / 2 + i in its high half, D a multiple of 16. The pages of a head lie one after
// another by id, so consecutive ids stream.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/dtype.h"

namespace lowkey {

// Keys are bytes, and rows end with scales.
inline bool has_scales(DType dtype) noexcept { return dtype == DType::kI8 || dtype == DType::kI8I4; }

// Bytes of the keys and values of a row, without what follows them.
inline int64_t kv_number_bytes(DType dtype, int64_t head_dim) noexcept {
  return dtype == DType::kI8I4 ? head_dim + head_dim / 2 : row_bytes(dtype, 2 * head_dim);
}

// Bytes of the row of a token and KV head.
inline int64_t kv_row_bytes(DType dtype, int64_t head_dim) noexcept {
  const int64_t floats = dtype == DType::kI8I4 ? 3 : dtype == DType::kI8 ? 2 : 0;
  return kv_number_bytes(dtype, head_dim) + floats * int64_t{sizeof(float)};
}

// Side data of a method: so many bytes for each page of each KV head, laid out as the pages themselves are.
struct KvPlane {
  std::byte* base = nullptr;  // page 0 of KV head 0
  int64_t head_stride = 0;    // bytes from a KV head to the next
  int64_t page_bytes = 0;
};

struct KvPages {
  static constexpr int kMaxPlanes = 4;

  std::byte* base = nullptr;       // page 0 of KV head 0
  int64_t head_stride = 0;         // bytes from a KV head to the next
  const int32_t* table = nullptr;  // [ceil(S / P)] page ids of the sequence
  int64_t length = 0;              // S, tokens in the sequence
  int page_tokens = 0;             // P, a power of two
  int kv_heads = 0;                // KH
  int head_dim = 0;                // D
  DType dtype = DType::kF16;       // kF16, kBF16, kF32, kI8 or kI8I4
  std::array<KvPlane, kMaxPlanes> planes{};

  int64_t token_bytes() const noexcept { return kv_row_bytes(dtype, head_dim); }
  // Bytes from a row's keys to its values.
  int64_t value_offset() const noexcept { return row_bytes(dtype, head_dim); }
  // Bytes from a row's keys to its scales.
  int64_t scale_offset() const noexcept { return kv_number_bytes(dtype, head_dim); }
  int64_t page_bytes() const noexcept { return page_tokens * token_bytes(); }
  // First byte of page `index` (0 = the sequence's first) of a head.
  std::byte* page(int head, int64_t index) const noexcept {
    return base + head * head_stride + table[index] * page_bytes();
  }
  // The row of token t of a head.
  std::byte* token(int head, int64_t t) const noexcept {
    return page(head, t / page_tokens) + t % page_tokens * token_bytes();
  }
  // What a plane keeps for page `index` of a head.
  std::byte* plane_page(int plane, int head, int64_t index) const noexcept {
    const KvPlane& p = planes[static_cast<size_t>(plane)];
    return p.base + head * p.head_stride + table[index] * p.page_bytes;
  }
};

}  // namespace lowkey
