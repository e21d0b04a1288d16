// The tokenizer of a GGUF file, from its metadata. This room does not read files: whoever does fills the fields.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace lowkey {

// Each field is a key "tokenizer.ggml.*".
struct GgufTokenizerFields {
  std::string source;  // names the file in errors
  std::string model;   // "gpt2": byte-level BPE; "llama": SentencePiece; "t5": its unigram kind; "bert": WordPiece
  std::string pre;     // names the pre-tokenizer: "llama-bpe", ...; "" and "default" count as "gpt-2"
  std::vector<std::string> tokens;                                                         // [V]
  std::vector<int64_t> token_type;                                                         // [V] or empty: all ordinary
  std::vector<std::string> merges;                                                         // gpt2
  std::vector<double> scores;                                                              // [V] llama, t5
  int64_t bos = -1, eos = -1, eot = -1, eom = -1, unknown = -1, cls = -1, separator = -1;  // *_token_id; -1: none
  std::optional<bool> add_bos, add_eos;  // add_*_token; without them, as the model's kind has it
  std::optional<bool> add_space_prefix;
  bool remove_extra_whitespaces = false;  // t5
  std::string precompiled_charsmap;       // t5: bytes
  std::string name;                       // general.name: Phi-3's tokens swallow the space after them
  std::string chat_template;
};

bool is_known_tokenizer(std::string_view model) noexcept;
// Throws kUnsupported (another model or pre-tokenizer), kCorruptFile.
TokenizerSpec make_gguf_spec(GgufTokenizerFields fields);

}  // namespace lowkey
