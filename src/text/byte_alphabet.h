// The GPT-2 byte alphabet: 256 printable characters, one for each byte, in which byte-level vocabularies are
// written. The space is "Ġ", the line feed "Ċ"; printable Latin-1 stands for itself.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace lowkey {

std::string to_byte_alphabet(std::string_view bytes);
// Nothing when the text holds a character outside of the alphabet.
std::optional<std::string> from_byte_alphabet(std::string_view text);

}  // namespace lowkey
