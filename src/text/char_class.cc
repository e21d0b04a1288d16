#include "text/char_class.h"

#include <utf8proc.h>

#include <algorithm>
#include <iterator>

namespace lowkey {
namespace {

struct Range {
  char32_t first, last;
  Category category;
};

// What Unicode 15.1 and 16 changed, which utf8proc 2.8 (Unicode 15.0) has not got. Ascending.
// tools/compare_tokenizers.py --classes checks every code point and prints what is missing here.
constexpr Range kNewer[] = {
    {0x897, 0x897, Category::kMn},     {0x1B4E, 0x1B4F, Category::kPo},   {0x1B7F, 0x1B7F, Category::kPo},
    {0x1C89, 0x1C89, Category::kLu},   {0x1C8A, 0x1C8A, Category::kLl},   {0x2427, 0x2429, Category::kSo},
    {0x2FFC, 0x2FFF, Category::kSo},   {0x31E4, 0x31E5, Category::kSo},   {0x31EF, 0x31EF, Category::kSo},
    {0xA7CB, 0xA7CC, Category::kLu},   {0xA7CD, 0xA7CD, Category::kLl},   {0xA7DA, 0xA7DA, Category::kLu},
    {0xA7DB, 0xA7DB, Category::kLl},   {0xA7DC, 0xA7DC, Category::kLu},   {0x105C0, 0x105F3, Category::kLo},
    {0x10D40, 0x10D49, Category::kNd}, {0x10D4A, 0x10D4D, Category::kLo}, {0x10D4E, 0x10D4E, Category::kLm},
    {0x10D4F, 0x10D4F, Category::kLo}, {0x10D50, 0x10D65, Category::kLu}, {0x10D69, 0x10D6D, Category::kMn},
    {0x10D6E, 0x10D6E, Category::kPd}, {0x10D6F, 0x10D6F, Category::kLm}, {0x10D70, 0x10D85, Category::kLl},
    {0x10D8E, 0x10D8F, Category::kSm}, {0x10EC2, 0x10EC4, Category::kLo}, {0x10EFC, 0x10EFC, Category::kMn},
    {0x11380, 0x11389, Category::kLo}, {0x1138B, 0x1138B, Category::kLo}, {0x1138E, 0x1138E, Category::kLo},
    {0x11390, 0x113B5, Category::kLo}, {0x113B7, 0x113B7, Category::kLo}, {0x113B8, 0x113BA, Category::kMc},
    {0x113BB, 0x113C0, Category::kMn}, {0x113C2, 0x113C2, Category::kMc}, {0x113C5, 0x113C5, Category::kMc},
    {0x113C7, 0x113CA, Category::kMc}, {0x113CC, 0x113CD, Category::kMc}, {0x113CE, 0x113CE, Category::kMn},
    {0x113CF, 0x113CF, Category::kMc}, {0x113D0, 0x113D0, Category::kMn}, {0x113D1, 0x113D1, Category::kLo},
    {0x113D2, 0x113D2, Category::kMn}, {0x113D3, 0x113D3, Category::kLo}, {0x113D4, 0x113D5, Category::kPo},
    {0x113D7, 0x113D8, Category::kPo}, {0x113E1, 0x113E2, Category::kMn}, {0x116D0, 0x116E3, Category::kNd},
    {0x1171E, 0x1171E, Category::kMc}, {0x11BC0, 0x11BE0, Category::kLo}, {0x11BE1, 0x11BE1, Category::kPo},
    {0x11BF0, 0x11BF9, Category::kNd}, {0x11F5A, 0x11F5A, Category::kMn}, {0x13460, 0x143FA, Category::kLo},
    {0x16100, 0x1611D, Category::kLo}, {0x1611E, 0x16129, Category::kMn}, {0x1612A, 0x1612C, Category::kMc},
    {0x1612D, 0x1612F, Category::kMn}, {0x16130, 0x16139, Category::kNd}, {0x16D40, 0x16D42, Category::kLm},
    {0x16D43, 0x16D6A, Category::kLo}, {0x16D6B, 0x16D6C, Category::kLm}, {0x16D6D, 0x16D6F, Category::kPo},
    {0x16D70, 0x16D79, Category::kNd}, {0x18CFF, 0x18CFF, Category::kLo}, {0x1CC00, 0x1CCEF, Category::kSo},
    {0x1CCF0, 0x1CCF9, Category::kNd}, {0x1CD00, 0x1CEB3, Category::kSo}, {0x1E5D0, 0x1E5ED, Category::kLo},
    {0x1E5EE, 0x1E5EF, Category::kMn}, {0x1E5F0, 0x1E5F0, Category::kLo}, {0x1E5F1, 0x1E5FA, Category::kNd},
    {0x1E5FF, 0x1E5FF, Category::kPo}, {0x1F8B2, 0x1F8BB, Category::kSo}, {0x1F8C0, 0x1F8C1, Category::kSo},
    {0x1FA89, 0x1FA89, Category::kSo}, {0x1FA8F, 0x1FA8F, Category::kSo}, {0x1FABE, 0x1FABE, Category::kSo},
    {0x1FAC6, 0x1FAC6, Category::kSo}, {0x1FADC, 0x1FADC, Category::kSo}, {0x1FADF, 0x1FADF, Category::kSo},
    {0x1FAE9, 0x1FAE9, Category::kSo}, {0x1FBCB, 0x1FBEF, Category::kSo}, {0x2EBF0, 0x2EE5D, Category::kLo}};

constexpr bool is_ascii_letter(char32_t c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

CharClass class_by_category(Category category) noexcept {
  switch (category) {
    case Category::kLu:
    case Category::kLl:
    case Category::kLt:
    case Category::kLm:
    case Category::kLo:
      return CharClass::kLetter;
    case Category::kNd:
    case Category::kNl:
    case Category::kNo:
      return CharClass::kNumber;
    default:
      return CharClass::kOther;
  }
}

}  // namespace

CharClass class_of(char32_t symbol) noexcept {
  if (is_ascii_letter(symbol)) return CharClass::kLetter;
  if (symbol >= '0' && symbol <= '9') return CharClass::kNumber;
  if (is_space(symbol)) return CharClass::kSpace;
  if (symbol < 0x80 || symbol > 0x10FFFF) return CharClass::kOther;
  return class_by_category(category_of(symbol));
}

Category category_of(char32_t symbol) noexcept {
  if (symbol > 0x10FFFF) return Category::kCn;
  const auto newer = std::lower_bound(std::begin(kNewer), std::end(kNewer), symbol,
                                      [](const Range& range, char32_t value) { return range.last < value; });
  if (newer != std::end(kNewer) && newer->first <= symbol) return newer->category;
  static_assert(static_cast<int>(Category::kCo) == UTF8PROC_CATEGORY_CO);  // the order is utf8proc's
  return static_cast<Category>(utf8proc_category(static_cast<utf8proc_int32_t>(symbol)));
}

bool is_space(char32_t c) noexcept {
  return (c >= 0x09 && c <= 0x0D) || c == ' ' || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_word(char32_t symbol) noexcept {
  const Category category = category_of(symbol);
  if (category >= Category::kLu && category <= Category::kPc) return category != Category::kNo;
  const auto between = [symbol](char32_t first, char32_t last) { return first <= symbol && symbol <= last; };
  // Joiners, and letters in circles and squares.
  return between(0x200C, 0x200D) || between(0x24B6, 0x24E9) || between(0x1F130, 0x1F149) || between(0x1F150, 0x1F169) ||
         between(0x1F170, 0x1F189);
}

}  // namespace lowkey
