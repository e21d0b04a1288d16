// MarkedText: a text that knows which of its bytes came from strangers, however it is cut and put together. A chat
// template makes a prompt of its own words and of what people wrote; only its own may become special tokens.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace lowkey {

class MarkedText {
 public:
  MarkedText() = default;
  // The text of a template.
  explicit MarkedText(std::string_view own) : bytes_(own) {}
  static MarkedText of_stranger(std::string_view text);

  const std::string& bytes() const noexcept { return bytes_; }
  const std::vector<TextRange>& strangers() const noexcept { return strangers_; }  // ascending, apart, not empty
  size_t size() const noexcept { return bytes_.size(); }

  void append(const MarkedText& other) { append(other, 0, other.size()); }
  // The bytes [begin, end) of `other`, which is another text.
  void append(const MarkedText& other, size_t begin, size_t end);
  void append(std::string_view own) { bytes_.append(own); }
  // Text that was made of the bytes [begin, end) of `other`: all a stranger's when any of these is.
  void append_made(std::string_view text, const MarkedText& other, size_t begin, size_t end);
  MarkedText part(size_t begin, size_t end) const;
  bool touches_stranger(size_t begin, size_t end) const noexcept;

 private:
  void mark(size_t begin, size_t end);

  std::string bytes_;
  std::vector<TextRange> strangers_;
};

}  // namespace lowkey
