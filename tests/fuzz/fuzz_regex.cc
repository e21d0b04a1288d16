// A regular expression and, after a NUL, a text: a match lies within the text.
#include <cstdint>

#include "fuzz/touch.h"
#include "text/regex.h"

using namespace lowkey;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t end = std::min(input.find('\0'), size);
  const std::string_view text = end < size ? input.substr(end + 1) : input;
  try {
    const Regex regex(input.substr(0, end));
    int64_t steps = 100'000;
    for (size_t at = 0; at < text.size(); ++at)
      if (const size_t to = regex.match(text, at, &steps); to != Regex::kNone && (to < at || to > text.size()))
        std::abort();
  } catch (const Error& error) {
    require_one_line(error);
  }
  return 0;
}
