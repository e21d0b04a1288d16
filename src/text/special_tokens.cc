#include "text/special_tokens.h"

#include <algorithm>

namespace lowkey {

SpecialTokens::SpecialTokens(std::vector<Entry> entries) : entries_(std::move(entries)) {
  std::erase_if(entries_, [](const Entry& entry) { return entry.text.empty(); });
  std::sort(entries_.begin(), entries_.end(), [](const Entry& a, const Entry& b) { return a.text < b.text; });
  for (const Entry& entry : entries_) ++begin_[static_cast<uint8_t>(entry.text[0]) + 1];
  for (size_t i = 1; i < begin_.size(); ++i) begin_[i] += begin_[i - 1];
}

SpecialTokens::Match SpecialTokens::find(std::string_view text, size_t from, bool with_control) const noexcept {
  if (entries_.empty()) return {};
  for (size_t at = from; at < text.size(); ++at) {
    uint8_t byte = static_cast<uint8_t>(text[at]);
    if (begin_[byte] == begin_[byte + 1]) continue;
    if (Match match = match_at(text, at, with_control); match.id >= 0) return match;
  }
  return {};
}

// Narrows the sorted entries byte by byte: those in [low, high) share the text's next `depth` bytes.
SpecialTokens::Match SpecialTokens::match_at(std::string_view text, size_t at, bool with_control) const noexcept {
  uint8_t byte = static_cast<uint8_t>(text[at]);
  auto low = entries_.begin() + begin_[byte], high = entries_.begin() + begin_[byte + 1];
  Match best;
  for (size_t depth = 1; low < high; ++depth) {
    for (; low < high && low->text.size() == depth; ++low)
      if (with_control || !low->control) best = {at, at + depth, low->id};
    if (at + depth >= text.size()) break;
    uint8_t next = static_cast<uint8_t>(text[at + depth]);
    auto byte_of = [depth](const Entry& entry) { return static_cast<uint8_t>(entry.text[depth]); };
    low = std::partition_point(low, high, [&](const Entry& entry) { return byte_of(entry) < next; });
    high = std::partition_point(low, high, [&](const Entry& entry) { return byte_of(entry) == next; });
  }
  return best;
}

}  // namespace lowkey
