#include "text/normalize.h"

#include <utf8proc.h>

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "text/utf8.h"

namespace lowkey {
namespace {

using CodePoints = std::vector<utf8proc_int32_t>;

void append_decomposed(char32_t symbol, CodePoints* to) {
  utf8proc_int32_t parts[8];  // canonical decompositions have at most 4 parts
  int boundary = 0;
  utf8proc_ssize_t n = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(symbol), parts, std::size(parts),
                                               UTF8PROC_DECOMPOSE, &boundary);
  LK_REQUIRE(n >= 0 && n <= std::ssize(parts), kInternal, "[tokenizer] NFC of U+{:04X}: {} parts",
             static_cast<uint32_t>(symbol), n);
  to->insert(to->end(), parts, parts + n);
}

// Runs of combining marks by class. utf8proc_map sorts them by insertion, quadratic in a long run.
void order_marks(CodePoints* points) {
  auto rank = [](utf8proc_int32_t point) { return utf8proc_get_property(point)->combining_class; };
  auto is_mark = [&](utf8proc_int32_t point) { return rank(point) != 0; };
  for (auto begin = points->begin(); begin != points->end();) {
    begin = std::find_if(begin, points->end(), is_mark);
    auto end = std::find_if_not(begin, points->end(), is_mark);
    std::stable_sort(begin, end, [&](auto a, auto b) { return rank(a) < rank(b); });
    begin = end;
  }
}

void append_composed(CodePoints* points, std::string* to) {
  order_marks(points);
  utf8proc_ssize_t n = utf8proc_normalize_utf32(points->data(), std::ssize(*points),
                                                static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  LK_REQUIRE(n >= 0, kInternal, "[tokenizer] NFC of {} symbols: {}", points->size(), utf8proc_errmsg(n));
  for (utf8proc_ssize_t i = 0; i < n; ++i) append_utf8(static_cast<char32_t>((*points)[i]), to);
  points->clear();
}

}  // namespace

bool is_ascii(std::string_view text) noexcept {
  return std::all_of(text.begin(), text.end(), [](char byte) { return static_cast<uint8_t>(byte) < 0x80; });
}

std::string compose(std::string_view text) {
  std::string composed;
  composed.reserve(text.size());
  CodePoints points;  // of the valid part that is not yet composed
  for (size_t at = 0; at < text.size();) {
    Utf8Symbol symbol = utf8_at(text, at);
    if (symbol.value == kInvalidSymbol) {
      append_composed(&points, &composed);
      composed.append(text.substr(at, symbol.size));
    } else {
      append_decomposed(symbol.value, &points);
    }
    at += symbol.size;
  }
  append_composed(&points, &composed);
  return composed;
}

}  // namespace lowkey
