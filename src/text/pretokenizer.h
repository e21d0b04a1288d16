// Cuts text into the pieces that BPE merges within. The published definitions are regular expressions:
//
//   gpt2    's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
//   llama3  (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|
//           \s+(?!\S)|\s+
//   qwen2   as llama3, but \p{N} for \p{N}{1,3}
//
// Here they are matched by hand: linear in the text, no stack, no backtracking limit (docs/decisions/pretokenizer.md).
#pragma once

#include <cstddef>
#include <string_view>

#include "text/tokenizer.h"

namespace lowkey {

// The regular expression that a tokenizer.json gives for it.
std::string_view pretokenizer_regex(Pretokenizer) noexcept;

// The end of the piece that begins at `at`; needs at < text.size(). Never 0 bytes. A maximal invalid part of UTF-8
// counts as one symbol of class kOther, as U+FFFD in its place would.
size_t piece_end(Pretokenizer, std::string_view text, size_t at) noexcept;

}  // namespace lowkey
