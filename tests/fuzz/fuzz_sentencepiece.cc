// A tokenizer.model of SentencePiece. What is accepted must encode and decode.
#include <cstdint>

#include "fuzz/touch.h"
#include "text/sentencepiece_model.h"

using namespace lowkey;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  try {
    const Tokenizer tokenizer(parse_sentencepiece(input, "", "fuzz.model"));
    tokenizer.decode(tokenizer.encode(input.substr(0, 200)), true);
  } catch (const Error& error) {
    require_one_line(error);
  }
  return 0;
}
