#include "text/normalize.h"

#include <utf8proc.h>

#include <algorithm>
#include <iterator>
#include <vector>

#include "base/error.h"
#include "text/utf8.h"

namespace lowkey {
namespace {

struct Range {
  char32_t first, last;
};

// Characters that Unicode 10 to 15 have made combining, and one that they decompose. Hugging Face tokenizers normalises
// by Unicode 9, so for the ids to be the same these neither move nor compose. U+11A7, which never composes, is among
// them because utf8proc 2.8 drops it after a Hangul syllable. Ascending.
constexpr Range kApart[] = {
    {0x7FD, 0x7FD},     {0x898, 0x89F},     {0x8CA, 0x8D3},     {0x9FE, 0x9FE},     {0xC3C, 0xC3C},
    {0xD3B, 0xD3C},     {0xEBA, 0xEBA},     {0x11A7, 0x11A7},   {0x1715, 0x1715},   {0x1ABF, 0x1ACE},
    {0x1DF6, 0x1DFA},   {0xA82C, 0xA82C},   {0x10D24, 0x10D27}, {0x10EAB, 0x10EAC}, {0x10EFD, 0x10EFF},
    {0x10F46, 0x10F50}, {0x10F82, 0x10F85}, {0x11070, 0x11070}, {0x1133B, 0x1133B}, {0x1145E, 0x1145E},
    {0x11839, 0x1183A}, {0x11930, 0x11930}, {0x11938, 0x11938}, {0x1193D, 0x1193E}, {0x11943, 0x11943},
    {0x119E0, 0x119E0}, {0x11A34, 0x11A34}, {0x11A47, 0x11A47}, {0x11A99, 0x11A99}, {0x11D42, 0x11D42},
    {0x11D44, 0x11D45}, {0x11D97, 0x11D97}, {0x11F41, 0x11F42}, {0x16FF0, 0x16FF1}, {0x1E08F, 0x1E08F},
    {0x1E130, 0x1E136}, {0x1E2AE, 0x1E2AE}, {0x1E2EC, 0x1E2EF}, {0x1E4EC, 0x1E4EF}};

bool is_apart(char32_t symbol) noexcept {
  auto range = std::lower_bound(std::begin(kApart), std::end(kApart), symbol,
                                [](const Range& r, char32_t value) { return r.last < value; });
  return range != std::end(kApart) && range->first <= symbol;
}

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
  CodePoints points;  // of the part that is not yet composed
  for (size_t at = 0; at < text.size();) {
    Utf8Symbol symbol = utf8_at(text, at);
    if (symbol.value == kInvalidSymbol || is_apart(symbol.value)) {
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

std::u32string decompose(std::u32string_view symbols) {
  std::u32string decomposed;
  decomposed.reserve(symbols.size());
  CodePoints points;  // of the part whose marks are not yet in order
  const auto flush = [&] {
    order_marks(&points);
    decomposed.append(points.begin(), points.end());
    points.clear();
  };
  for (char32_t symbol : symbols) {
    if (!is_apart(symbol)) {
      append_decomposed(symbol, &points);
      continue;
    }
    flush();
    decomposed.push_back(symbol);
  }
  flush();
  return decomposed;
}

}  // namespace lowkey
