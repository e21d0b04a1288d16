#include "text/marked_text.h"

#include <algorithm>

namespace lowkey {

MarkedText MarkedText::of_stranger(std::string_view text) {
  MarkedText marked(text);
  marked.mark(0, text.size());
  return marked;
}

void MarkedText::mark(size_t begin, size_t end) {
  if (begin == end) return;
  if (!strangers_.empty() && strangers_.back().end == begin) {
    strangers_.back().end = end;
  } else {
    strangers_.push_back({begin, end});
  }
}

void MarkedText::append(const MarkedText& other, size_t begin, size_t end) {
  const size_t at = bytes_.size();
  bytes_.append(other.bytes_, begin, end - begin);
  auto range = std::partition_point(other.strangers_.begin(), other.strangers_.end(),
                                    [&](const TextRange& r) { return r.end <= begin; });
  for (; range != other.strangers_.end() && range->begin < end; ++range)
    mark(at + std::max(range->begin, begin) - begin, at + std::min(range->end, end) - begin);
}

void MarkedText::append_made(std::string_view text, const MarkedText& other, size_t begin, size_t end) {
  const size_t at = bytes_.size();
  bytes_.append(text);
  if (other.touches_stranger(begin, end)) mark(at, bytes_.size());
}

MarkedText MarkedText::part(size_t begin, size_t end) const {
  MarkedText text;
  text.append(*this, begin, end);
  return text;
}

bool MarkedText::touches_stranger(size_t begin, size_t end) const noexcept {
  const auto next =
      std::partition_point(strangers_.begin(), strangers_.end(), [&](const TextRange& r) { return r.end <= begin; });
  return next != strangers_.end() && next->begin < end;
}

}  // namespace lowkey
