#include "base/printable.h"

#include <fmt/format.h>

#include <cstdint>

namespace lowkey {
namespace {

// Bytes of the UTF-8 character that text starts with; 0 if it is a control character or no valid UTF-8.
size_t printable_length(std::string_view text) noexcept {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<uint8_t>(text[i]) : uint8_t{0}; };
  const auto continues = [&](size_t i) { return (byte(i) & 0xc0) == 0x80; };
  const uint8_t first = byte(0);
  if (first < 0x80) return first >= 0x20 && first != 0x7f;
  if (first >= 0xc2 && first <= 0xdf)
    return continues(1) && (first > 0xc2 || byte(1) >= 0xa0) ? 2 : 0;  // no C1 controls
  if ((first & 0xf0) == 0xe0) {
    const bool shortest = first != 0xe0 || byte(1) >= 0xa0, surrogate = first == 0xed && byte(1) >= 0xa0;
    const bool separator = first == 0xe2 && byte(1) == 0x80 && (byte(2) == 0xa8 || byte(2) == 0xa9);
    return continues(1) && continues(2) && shortest && !surrogate && !separator ? 3 : 0;
  }
  const bool in_range =
      first >= 0xf0 && first <= 0xf4 && (first != 0xf0 || byte(1) >= 0x90) && (first != 0xf4 || byte(1) < 0x90);
  return in_range && continues(1) && continues(2) && continues(3) ? 4 : 0;
}

}  // namespace

std::string printable(std::string_view text, size_t limit) {
  std::string out;
  while (!text.empty()) {
    const size_t length = printable_length(text);
    const std::string next =
        length ? std::string(text.substr(0, length)) : fmt::format("\\x{:02x}", static_cast<uint8_t>(text.front()));
    if (out.size() + next.size() > limit) return out + "...";
    out += next;
    text.remove_prefix(length ? length : 1);
  }
  return out;
}

}  // namespace lowkey
