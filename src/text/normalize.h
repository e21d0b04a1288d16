// Unicode normalisation, as far as tokenizers ask for it.
#pragma once

#include <string>
#include <string_view>

namespace lowkey {

bool is_ascii(std::string_view text) noexcept;
// NFC, the composed form, by Unicode 9 as Hugging Face tokenizers has it. Invalid parts of UTF-8 are kept as they are,
// and separate what is before and after them.
std::string compose(std::string_view text);
// NFD, the decomposed form, by Unicode 9 too, of symbols that are all valid.
std::u32string decompose(std::u32string_view symbols);

}  // namespace lowkey
