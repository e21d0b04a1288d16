// A tokenizer.json and, after a NUL, a tokenizer_config.json. What is accepted must encode and decode.
#include <cstdint>

#include "fuzz/touch.h"
#include "text/tokenizer.h"

using namespace lowkey;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t end = std::min(input.find('\0'), size);
  const std::string_view config = end < size ? input.substr(end + 1) : "";
  try {
    const Tokenizer tokenizer(parse_tokenizer_json(input.substr(0, end), config, "fuzz.json"));
    const std::string_view text = input.substr(0, 200);
    const std::string back = tokenizer.decode(tokenizer.encode(text), true);
    if (back.empty() && !text.empty() && !tokenizer.spec().wordpiece)
      std::abort();  // WordPiece drops control characters
  } catch (const Error& error) {
    require_one_line(error);
  }
  return 0;
}
