// UTF-8, one symbol at a time. What is not valid UTF-8 is cut into the longest parts that begin a valid
// character (Unicode's "maximal subparts", what a decoder replaces by one U+FFFD), each of them one symbol.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace lowkey {

constexpr char32_t kInvalidSymbol = 0xFFFFFFFF;
constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

struct Utf8Symbol {
  char32_t value = kInvalidSymbol;  // a Unicode scalar value, or kInvalidSymbol
  uint32_t size = 1;                // bytes, 1 to 4
  bool cut_short = false;           // invalid only because the text ended: more bytes may complete it
};

// Needs at < text.size().
Utf8Symbol utf8_at(std::string_view text, size_t at) noexcept;
void append_utf8(char32_t scalar, std::string* text);

}  // namespace lowkey
