// The kinds of characters that BERT's rules tell apart. They follow what Hugging Face tokenizers has, Unicode 8, so
// characters that later versions added are of no kind here.
#pragma once

namespace lowkey {

bool is_bert_control(char32_t symbol) noexcept;      // dropped from texts: Cc, Cf, Co but tab and line ends
bool is_bert_accent(char32_t symbol) noexcept;       // Mn
bool is_bert_punctuation(char32_t symbol) noexcept;  // P*, and all symbols of ASCII
bool is_bert_chinese(char32_t symbol) noexcept;      // CJK ideographs: a word each

// The lower case of one symbol as Unicode 17 has it. U+0130 becomes two symbols, which is not done here.
char32_t bert_lower(char32_t symbol) noexcept;

}  // namespace lowkey
