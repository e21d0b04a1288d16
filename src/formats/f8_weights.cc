#include "formats/f8_weights.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/half.h"

namespace lowkey {
namespace {

constexpr int64_t kGrid = 128;  // rows and columns that share a scale

float number(const View& view, int64_t i) {
  if (view.dtype == DType::kF32) return view.f32()[i];
  return bf16_to_f32(reinterpret_cast<const uint16_t*>(view.data)[i]);
}

// The scale of an element is number row / row_step * row_stride + column / column_step.
struct Scales {
  int64_t row_step, column_step, row_stride;
};

Scales scales_of(const View& bytes, const View& scales, const std::string& place) {
  const int64_t rows = bytes.rows(), columns = bytes.columns();
  const int64_t down = (rows + kGrid - 1) / kGrid, across = (columns + kGrid - 1) / kGrid;
  LK_REQUIRE(scales.dtype == DType::kF32 || scales.dtype == DType::kBF16, kUnsupported,
             "{}: scales are {}, must be f32 or bf16", place, scales.describe());
  if (scales.elements() == 1) return {rows, columns, 1};
  if (scales.elements() == rows && (scales.rank == 1 || scales.columns() == 1)) return {1, columns, 1};
  LK_REQUIRE(scales.rank == 2 && scales.rows() == down && scales.columns() == across, kUnsupported,
             "{}: scales are {}, must be one, [{}] or [{}, {}]", place, scales.describe(), rows, down, across);
  return {kGrid, kGrid, across};
}

}  // namespace

float f8_e4m3_to_f32(uint8_t x) noexcept {
  const int exponent = x >> 3 & 15, fraction = x & 7;
  float magnitude = exponent == 0 ? std::ldexp(static_cast<float>(fraction), -9)
                                  : std::ldexp(static_cast<float>(8 + fraction), exponent - 10);
  if (exponent == 15 && fraction == 7) magnitude = std::numeric_limits<float>::quiet_NaN();
  return x & 0x80 ? -magnitude : magnitude;
}

View widen_f8(const View& bytes, const View* scales, const std::string& place, HugeBuffer& memory) {
  std::array<float, 256> values;
  for (int i = 0; i < 256; ++i) values[static_cast<size_t>(i)] = f8_e4m3_to_f32(static_cast<uint8_t>(i));
  const int64_t rows = bytes.rows(), columns = bytes.columns();
  View out = bytes;
  out.dtype = DType::kBF16;
  memory = HugeBuffer(static_cast<size_t>(out.bytes()));
  out.data = memory.data();
  const Scales s = scales == nullptr ? Scales{rows, columns, 1} : scales_of(bytes, *scales, place);
  const auto* in = reinterpret_cast<const uint8_t*>(bytes.data);
  auto* to = reinterpret_cast<uint16_t*>(out.data);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t begin = 0; begin < columns; begin += s.column_step) {
      const int64_t at = r / s.row_step * s.row_stride + begin / s.column_step;
      const float scale = scales == nullptr ? 1.f : number(*scales, at);
      for (int64_t c = begin; c < std::min(begin + s.column_step, columns); ++c)
        to[r * columns + c] = f32_to_bf16(values[in[r * columns + c]] * scale);
    }
  }
  return out;
}

}  // namespace lowkey
