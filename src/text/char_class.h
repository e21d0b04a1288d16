// The four kinds of characters that the pre-tokenizers tell apart, as Unicode 16 sorts them (what Hugging Face
// tokenizers does), whatever version of Unicode the installed utf8proc knows.
#pragma once

#include <cstdint>

namespace lowkey {

enum class CharClass : uint8_t {
  kLetter,  // \p{L}
  kNumber,  // \p{N}
  kSpace,   // \s: White_Space
  kOther,   // everything else, unassigned and invalid symbols too
};

CharClass class_of(char32_t symbol) noexcept;

}  // namespace lowkey
