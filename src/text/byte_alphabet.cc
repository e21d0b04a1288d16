#include "text/byte_alphabet.h"

#include <array>
#include <cstdint>

#include "text/utf8.h"

namespace lowkey {
namespace {

struct Alphabet {
  std::array<char32_t, 256> symbol{};
  std::array<int16_t, 512> byte{};  // -1: not in the alphabet
};

// Bytes that do not print take the characters from U+0100 on, in order.
constexpr Alphabet make_alphabet() {
  Alphabet alphabet;
  for (int16_t& byte : alphabet.byte) byte = -1;
  char32_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    bool prints = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xFF && byte != 0xAD);
    char32_t symbol = prints ? static_cast<char32_t>(byte) : next++;
    alphabet.symbol[byte] = symbol;
    alphabet.byte[symbol] = static_cast<int16_t>(byte);
  }
  return alphabet;
}

constexpr Alphabet kAlphabet = make_alphabet();

}  // namespace

std::string to_byte_alphabet(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size() * 2);
  for (char byte : bytes) append_utf8(kAlphabet.symbol[static_cast<uint8_t>(byte)], &text);
  return text;
}

std::optional<std::string> from_byte_alphabet(std::string_view text) {
  std::string bytes;
  bytes.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    Utf8Symbol symbol = utf8_at(text, at);
    if (symbol.value >= kAlphabet.byte.size() || kAlphabet.byte[symbol.value] < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(kAlphabet.byte[symbol.value]));
    at += symbol.size;
  }
  return bytes;
}

}  // namespace lowkey
