// SentenceRules: how the vectors of a text's tokens become one vector for the text, as sentence-transformers keeps it
// beside a model (modules.json, 1_Pooling/config.json, sentence_bert_config.json). Without these files: the mean, as it
// is, which is what sentence-transformers makes of a plain encoder.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>

#include "model/encoder.h"

namespace lowkey {

enum class Pool : uint8_t {
  kMean,  // of all tokens, the special ones too
  kCls,   // the first token's
};
std::string_view name(Pool) noexcept;  // "mean", "cls"

struct SentenceRules {
  Pool pool = Pool::kMean;
  bool normalise = false;  // to length 1
  int64_t max_tokens = 0;  // of a longer text only the beginning counts; 0: no such rule
};

// Throws kCorruptFile, and kUnsupported for other modules and ways of pooling.
SentenceRules read_sentence_rules(const std::filesystem::path& folder);

// hidden: [T, C] f32, the tokens of the batch -> out [B, C] f32. Sums in f64.
void pool(const TextBatch&, View hidden, const SentenceRules&, View out);

}  // namespace lowkey
