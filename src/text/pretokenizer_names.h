// The names that GGUF files have for pre-tokenizers (tokenizer.ggml.pre), and what each stands for.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace lowkey {

struct NamedPretokenizer {
  std::string_view name;
  Pretokenizer kind = Pretokenizer::kGpt2;
  std::vector<std::string_view> splits;  // of kSplits
  bool ignore_merges = false;
  bool nfc = false;
  bool add_bos = false;  // where the file does not say
};

// In an order in which, of several that cut alike, the best known comes first.
const std::vector<NamedPretokenizer>& named_pretokenizers();

}  // namespace lowkey
