#include "text/tokenizer.h"
#include "text/utf8.h"

namespace lowkey {

std::string StreamDecoder::push(int32_t id) {
  pending_ += tokenizer_->piece(id);
  std::string text;
  size_t at = 0;
  while (at < pending_.size()) {
    Utf8Symbol symbol = utf8_at(pending_, at);
    if (symbol.cut_short) break;
    if (symbol.value == kInvalidSymbol) {
      text += kReplacement;
    } else {
      text.append(pending_, at, symbol.size);
    }
    at += symbol.size;
  }
  pending_.erase(0, at);
  return text;
}

std::string StreamDecoder::finish() {
  std::string text(pending_.empty() ? "" : kReplacement);
  pending_.clear();
  return text;
}

}  // namespace lowkey
