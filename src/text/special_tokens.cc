#include "text/special_tokens.h"

#include <algorithm>

#include "text/char_class.h"
#include "text/utf8.h"

namespace lowkey {
namespace {

// The symbol that ends before `end`, which is > 0.
Utf8Symbol symbol_before(std::string_view text, size_t end) noexcept {
  for (uint32_t size = 2; size <= 4 && size <= end; ++size) {
    const Utf8Symbol symbol = utf8_at(text, end - size);
    if (symbol.size == size && symbol.value != kInvalidSymbol) return symbol;
  }
  return utf8_at(text, end - 1);
}

size_t spaces_before(std::string_view text, size_t end) noexcept {
  while (end > 0) {
    const Utf8Symbol symbol = symbol_before(text, end);
    if (class_of(symbol.value) != CharClass::kSpace) break;
    end -= symbol.size;
  }
  return end;
}

size_t spaces_after(std::string_view text, size_t at) noexcept {
  while (at < text.size()) {
    const Utf8Symbol symbol = utf8_at(text, at);
    if (class_of(symbol.value) != CharClass::kSpace) break;
    at += symbol.size;
  }
  return at;
}

bool within_word(std::string_view text, size_t begin, size_t end) noexcept {
  return (begin > 0 && is_word(symbol_before(text, begin).value)) ||
         (end < text.size() && is_word(utf8_at(text, end).value));
}

}  // namespace

SpecialTokens::SpecialTokens(std::vector<Entry> entries) : entries_(std::move(entries)) {
  std::erase_if(entries_, [](const Entry& entry) { return entry.text.empty(); });
  std::sort(entries_.begin(), entries_.end(), [](const Entry& a, const Entry& b) { return a.text < b.text; });
  for (const Entry& entry : entries_) ++begin_[static_cast<uint8_t>(entry.text[0]) + 1];
  for (size_t i = 1; i < begin_.size(); ++i) begin_[i] += begin_[i - 1];
}

bool SpecialTokens::Allowed::operator()(size_t begin, size_t end) const noexcept {
  if (!control) return false;
  const auto next =
      std::partition_point(never.begin(), never.end(), [&](const TextRange& range) { return range.end <= begin; });
  return next == never.end() || next->begin >= end;
}

SpecialTokens::Match SpecialTokens::find(std::string_view text, size_t from, const Allowed& allowed) const noexcept {
  if (entries_.empty()) return {};
  for (size_t at = from; at < text.size();) {
    uint8_t byte = static_cast<uint8_t>(text[at]);
    const Entry* entry = begin_[byte] == begin_[byte + 1] ? nullptr : match_at(text, at, allowed);
    if (entry == nullptr) {
      ++at;
      continue;
    }
    Match match{at, at + entry->text.size(), entry->id};
    at = match.end;
    if (entry->whole_word && within_word(text, match.begin, match.end)) continue;
    if (entry->takes_left) match.begin = std::max(from, spaces_before(text, match.begin));
    if (entry->takes_right) match.end = spaces_after(text, match.end);
    return match;
  }
  return {};
}

// Narrows the sorted entries byte by byte: those in [low, high) share the text's next `depth` bytes.
const SpecialTokens::Entry* SpecialTokens::match_at(std::string_view text, size_t at,
                                                    const Allowed& allowed) const noexcept {
  uint8_t byte = static_cast<uint8_t>(text[at]);
  auto low = entries_.begin() + begin_[byte], high = entries_.begin() + begin_[byte + 1];
  const Entry* best = nullptr;
  for (size_t depth = 1; low < high; ++depth) {
    for (; low < high && low->text.size() == depth; ++low)
      if (!low->control || allowed(at, at + depth)) best = &*low;
    if (at + depth >= text.size()) break;
    uint8_t next = static_cast<uint8_t>(text[at + depth]);
    auto byte_of = [depth](const Entry& entry) { return static_cast<uint8_t>(entry.text[depth]); };
    low = std::partition_point(low, high, [&](const Entry& entry) { return byte_of(entry) < next; });
    high = std::partition_point(low, high, [&](const Entry& entry) { return byte_of(entry) == next; });
  }
  return best;
}

}  // namespace lowkey
