#include "text/utf8.h"

namespace lowkey {
namespace {

struct Lead {
  uint32_t size;      // bytes of the character; 0: no character begins so
  uint8_t low, high;  // what the second byte may be: excludes overlong forms, surrogates, > U+10FFFF
};

constexpr Lead lead_of(uint8_t byte) noexcept {
  if (byte < 0xC2) return {0, 0, 0};
  if (byte < 0xE0) return {2, 0x80, 0xBF};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte < 0xF0) return {3, 0x80, 0xBF};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte < 0xF4) return {4, 0x80, 0xBF};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

}  // namespace

Utf8Symbol utf8_at(std::string_view text, size_t at) noexcept {
  uint8_t first = static_cast<uint8_t>(text[at]);
  if (first < 0x80) return {first, 1, false};
  Lead lead = lead_of(first);
  if (lead.size == 0) return {kInvalidSymbol, 1, false};
  char32_t value = first & (0x7Fu >> lead.size);
  for (uint32_t i = 1; i < lead.size; ++i) {
    if (at + i >= text.size()) return {kInvalidSymbol, i, true};
    uint8_t byte = static_cast<uint8_t>(text[at + i]);
    uint8_t low = i == 1 ? lead.low : 0x80, high = i == 1 ? lead.high : 0xBF;
    if (byte < low || byte > high) return {kInvalidSymbol, i, false};
    value = value << 6 | (byte & 0x3F);
  }
  return {value, lead.size, false};
}

void append_utf8(char32_t scalar, std::string* text) {
  auto push = [&](char32_t byte) { text->push_back(static_cast<char>(byte)); };
  if (scalar < 0x80) return push(scalar);
  if (scalar < 0x800) {
    push(0xC0 | scalar >> 6);
  } else if (scalar < 0x10000) {
    push(0xE0 | scalar >> 12);
    push(0x80 | (scalar >> 6 & 0x3F));
  } else {
    push(0xF0 | scalar >> 18);
    push(0x80 | (scalar >> 12 & 0x3F));
    push(0x80 | (scalar >> 6 & 0x3F));
  }
  push(0x80 | (scalar & 0x3F));
}

}  // namespace lowkey
