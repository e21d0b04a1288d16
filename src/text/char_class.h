// What the pre-tokenizers tell of characters: four kinds and the general categories, as Unicode 16 sorts them (what
// Hugging Face tokenizers does), whatever version of Unicode the installed utf8proc knows.
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

// Unicode's general categories, of the same version. Of what is no character: kCn.
enum class Category : uint8_t {
  kCn,
  kLu,
  kLl,
  kLt,
  kLm,
  kLo,
  kMn,
  kMc,
  kMe,
  kNd,
  kNl,
  kNo,
  kPc,
  kPd,
  kPs,
  kPe,
  kPi,
  kPf,
  kPo,
  kSm,
  kSc,
  kSk,
  kSo,
  kZs,
  kZl,
  kZp,
  kCc,
  kCf,
  kCs,
  kCo
};
Category category_of(char32_t symbol) noexcept;
bool is_space(char32_t symbol) noexcept;  // \s
// Letters, marks, digits, connecting punctuation and joiners: \w.
bool is_word(char32_t symbol) noexcept;

}  // namespace lowkey
