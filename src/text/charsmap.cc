#include "text/charsmap.h"

#include <utf8proc.h>

#include <cstring>

#include "base/error.h"
#include "text/char_class.h"
#include "text/utf8.h"

namespace lowkey {
namespace {

constexpr size_t kLongestGrapheme = 5;  // bytes, of those that are rewritten as a whole

// A unit of the double array: of an inner node, how far its children are, whether a value is among them, and its byte.
uint32_t offset(uint32_t unit) noexcept { return unit >> 10 << ((unit >> 6) & 8); }
bool has_value(uint32_t unit) noexcept { return (unit >> 8 & 1) != 0; }
uint32_t label(uint32_t unit) noexcept { return unit & (0x80000000u | 0xFF); }
uint32_t value(uint32_t unit) noexcept { return unit & 0x7FFFFFFF; }

// A symbol that breaks graphemes as this one does: for marks younger than the installed utf8proc an older one.
utf8proc_int32_t known(char32_t symbol) noexcept {
  const auto point = static_cast<utf8proc_int32_t>(symbol);
  if (utf8proc_category(point) != UTF8PROC_CATEGORY_CN) return point;
  const Category category = category_of(symbol);
  if (category == Category::kMn || category == Category::kMe) return 0x301;
  return category == Category::kMc ? 0x903 : point;
}

}  // namespace

Charsmap::Charsmap(std::string_view bytes, const std::string& source) {
  if (bytes.empty()) return;
  uint32_t size = 0;
  const bool whole = bytes.size() >= sizeof(size);
  if (whole) std::memcpy(&size, bytes.data(), sizeof(size));
  LK_REQUIRE(whole && size >= sizeof(uint32_t) && size % sizeof(uint32_t) == 0 && size <= bytes.size() - sizeof(size),
             kCorruptFile, "[tokenizer] {}: precompiled_charsmap of {} bytes has a trie of {}", source, bytes.size(),
             size);
  units_.resize(size / sizeof(uint32_t));
  std::memcpy(units_.data(), bytes.data() + sizeof(size), size);
  strings_ = bytes.substr(sizeof(size) + size);
}

// Of the keys that the text begins with. What a corrupt array leads to outside of it ends the search.
std::optional<Charsmap::Match> Charsmap::find(std::string_view text, bool longest) const noexcept {
  std::optional<Match> found;
  if (units_.empty()) return found;
  uint32_t at = offset(units_[0]);
  for (size_t i = 0; i < text.size() && text[i] != 0; ++i) {
    const auto byte = static_cast<uint8_t>(text[i]);
    at ^= byte;
    if (at >= units_.size() || label(units_[at]) != byte) break;
    const uint32_t unit = units_[at];
    at ^= offset(unit);
    if (!has_value(unit)) continue;
    const size_t begin = at < units_.size() ? value(units_[at]) : strings_.size();
    if (begin >= strings_.size()) break;
    found = {i + 1, std::string_view(strings_.c_str() + begin)};
    if (!longest) break;
  }
  return found;
}

std::string Charsmap::rewrite(std::string_view text) const {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const Utf8Symbol symbol = utf8_at(text, at);
    const auto found = symbol.value == kInvalidSymbol ? std::nullopt : find(text.substr(at), /*longest=*/true);
    out.append(found ? found->becomes : text.substr(at, symbol.size));
    at += found ? found->size : symbol.size;
  }
  return out;
}

void Charsmap::append(std::string_view part, std::string* to) const {
  const auto found = find(part, /*longest=*/false);
  to->append(found ? found->becomes : part);
}

std::string Charsmap::rewrite_graphemes(std::string_view text) const {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    std::vector<size_t> ends;  // of the symbols of the grapheme
    utf8proc_int32_t state = 0;
    char32_t last = kInvalidSymbol;
    for (size_t end = at; end < text.size();) {
      const Utf8Symbol symbol = utf8_at(text, end);
      const bool apart = symbol.value == kInvalidSymbol || last == kInvalidSymbol;
      if (!ends.empty() && (apart || utf8proc_grapheme_break_stateful(known(last), known(symbol.value), &state))) break;
      last = symbol.value;
      ends.push_back(end += symbol.size);
    }
    const std::string_view grapheme = text.substr(at, ends.back() - at);
    if (grapheme.size() <= kLongestGrapheme && find(grapheme, /*longest=*/false)) {
      append(grapheme, &out);
      at = ends.back();
    } else {
      for (size_t end : ends) append(text.substr(at, end - at), &out), at = end;
    }
  }
  return out;
}

}  // namespace lowkey
