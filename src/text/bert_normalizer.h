// bert_normalize: what BERT does to a text before it is cut into words, as Hugging Face tokenizers' BertNormalizer:
// clean, set ideographs apart, take accents off, lower the case, in this order, each as the rules say.
#pragma once

#include <string>
#include <string_view>

#include "text/tokenizer.h"

namespace lowkey {

// Valid UTF-8, whatever the text is: each invalid part counts as U+FFFD, which cleaning drops.
std::string bert_normalize(std::string_view text, const WordPieceRules& rules);

}  // namespace lowkey
