// For tests: a vocabulary that fits on a screen. Ids 0 to 255 are the bytes; then come the merges and special tokens.
#pragma once

#include <string>

#include "text/byte_alphabet.h"
#include "text/tokenizer.h"

namespace lowkey::tiny {

constexpr int32_t kHe = 256, kLl = 257, kHello = 259, kSpaceW = 260, kPlain = 262, kBos = 263, kEnd = 264;

inline TokenizerSpec spec(Pretokenizer pretokenizer = Pretokenizer::kLlama3) {
  TokenizerSpec spec;
  spec.source = "tiny";
  for (int byte = 0; byte < 256; ++byte)
    spec.tokens.push_back(to_byte_alphabet(std::string(1, static_cast<char>(byte))));
  for (const char* token : {"he", "ll", "hell", "hello", "Ġw", "Ġx", "<plain>", "<bos>", "<|eot_id|>"})
    spec.tokens.push_back(token);
  spec.merges = {"h e", "l l", "he ll", "hell o", "Ġ w", "Ġ x"};
  spec.added = {kPlain};
  spec.special = {kBos, kEnd};
  spec.end_ids = {kEnd};
  spec.bos = kBos;
  spec.add_bos = true;
  spec.pretokenizer = pretokenizer;
  return spec;
}

}  // namespace lowkey::tiny
