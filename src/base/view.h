// View: a borrowed, contiguous, row-major tensor. It owns nothing and is passed by value; every
// declaration says its shape in glossary letters: `View q;  // [T, H, D] f32`.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "base/error.h"

namespace lowkey {

struct View {
  static constexpr int kMaxRank = 4;

  void* data = nullptr;
  DType dtype = DType::kF32;
  int rank = 0;
  std::array<int64_t, kMaxRank> shape{};

  View() = default;
  View(void* data_, DType dtype_, std::initializer_list<int64_t> dims)
      : data(data_), dtype(dtype_), rank(static_cast<int>(dims.size())) {
    LK_REQUIRE(dims.size() <= kMaxRank, kInternal, "[view] rank={}, must be <= {}", dims.size(), kMaxRank);
    int i = 0;
    for (int64_t d : dims) shape[i++] = d;
  }

  explicit operator bool() const noexcept { return data != nullptr; }
  int64_t dim(int i) const noexcept { return shape[i < 0 ? i + rank : i]; }
  // Rows = all dimensions but the last, columns = the last.
  int64_t columns() const noexcept { return rank == 0 ? 0 : shape[rank - 1]; }
  int64_t rows() const noexcept {
    int64_t n = rank == 0 ? 0 : 1;
    for (int i = 0; i + 1 < rank; ++i) n *= shape[i];
    return n;
  }
  int64_t elements() const noexcept { return rows() * columns(); }
  int64_t row_size() const noexcept { return row_bytes(dtype, columns()); }  // bytes
  int64_t bytes() const noexcept { return rows() * row_size(); }

  float* f32() const noexcept { return static_cast<float*>(data); }
  float* f32_row(int64_t r) const noexcept { return f32() + r * columns(); }
  std::byte* row(int64_t r) const noexcept { return static_cast<std::byte*>(data) + r * row_size(); }
  // Rows [begin, end) as a [end - begin, columns] view.
  View slice_rows(int64_t begin, int64_t end) const { return {row(begin), dtype, {end - begin, columns()}}; }

  // "f32[3, 8, 128]", for error messages.
  std::string describe() const;
};

// A scalar or blockwise view over f32 storage owned elsewhere.
inline View f32_view(float* data, std::initializer_list<int64_t> dims) { return {data, DType::kF32, dims}; }
// [N] numbers that are only read; View has no const form.
inline View vector_view(const std::vector<float>& values) {
  return f32_view(const_cast<float*>(values.data()), {static_cast<int64_t>(values.size())});
}

}  // namespace lowkey
