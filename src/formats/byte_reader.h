// ByteReader: reads little-endian numbers and strings from bytes nobody vouches for. Nothing is read, and no
// length believed, before it is checked against the bytes that remain.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"

namespace lowkey {

static_assert(std::endian::native == std::endian::little, "files are read as they lie");

class ByteReader {
 public:
  // `place` starts every message: "[gguf] model.gguf".
  ByteReader(std::span<const std::byte> bytes, std::string place) : bytes_(bytes), place_(std::move(place)) {}

  const std::string& place() const noexcept { return place_; }
  uint64_t position() const noexcept { return position_; }
  uint64_t remaining() const noexcept { return bytes_.size() - position_; }

  // `field` names the value in errors: "tensor_count".
  template <typename T>
  T number(std::string_view field) {
    LK_REQUIRE(sizeof(T) <= remaining(), kCorruptFile, "{}: {} at byte {}: the file ends after {} bytes, must hold {}",
               place_, field, position_, remaining(), sizeof(T));
    T value;
    std::memcpy(&value, bytes_.data() + position_, sizeof(T));
    position_ += sizeof(T);
    return value;
  }

  // A 64-bit length, then as many bytes. The view points into the bytes read.
  std::string_view text(std::string_view field) {
    const auto length = number<uint64_t>(field);
    LK_REQUIRE(length <= remaining(), kCorruptFile, "{}: {} length = {}, must be <= {}, the bytes that remain", place_,
               field, length, remaining());
    const auto* start = reinterpret_cast<const char*>(bytes_.data()) + position_;
    position_ += length;
    return {start, static_cast<size_t>(length)};
  }

  // A count of things that take at least least_bytes each.
  uint64_t count(std::string_view field, uint64_t most, uint64_t least_bytes) {
    const auto n = number<uint64_t>(field);
    LK_REQUIRE(n <= most, kCorruptFile, "{}: {} = {}, must be <= {}", place_, field, n, most);
    LK_REQUIRE(n <= remaining() / least_bytes, kCorruptFile,
               "{}: {} = {}, must be <= {}, what the {} bytes that remain can hold", place_, field, n,
               remaining() / least_bytes, remaining());
    return n;
  }

 private:
  std::span<const std::byte> bytes_;
  std::string place_;
  uint64_t position_ = 0;
};

}  // namespace lowkey
