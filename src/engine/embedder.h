// Embedder: texts to vectors, or to scores of classes, by an encoder. Texts are read in batches of about as many tokens
// as fill the processor; a text's result depends on the others of its batch at most by rounding.
//
// Not thread-safe: one embedder serves one caller at a time.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "model/encoder.h"
#include "model/sentence.h"
#include "text/tokenizer.h"

namespace lowkey {

struct EmbedderOptions {
  SentenceRules rules;          // max_tokens 0: what the encoder reads
  int64_t batch = 1024;         // tokens read at once, at least; a longer text is read alone
  DType kv_type = DType::kF32;  // one layer is kept at a time: nothing to save
  bool parse_special = false;   // "[MASK]" in a text is the token
};

struct TextResult {
  std::vector<float> values;  // [C] the embedding, or [N] a score for each class
  int64_t tokens = 0;         // read, the special ones too
  int64_t left_out = 0;       // at the end of the text, which was too long
};

enum class TextTask : uint8_t { kEmbed, kClassify };

class Embedder {
 public:
  // The references must outlive it. Throws kInvalidArgument for a max_tokens beyond what the encoder reads,
  // kCorruptFile when the tokenizer has more tokens than the encoder.
  Embedder(const Context&, const Encoder&, const Tokenizer&, const Method&, const EmbedderOptions&);

  // Results in the order of the texts. After each batch `go_on(done, total)` is asked; false ends it with what is
  // there.
  std::vector<TextResult> run(
      std::span<const std::string> texts, TextTask,
      const std::function<bool(int64_t done, int64_t total)>& go_on = [](int64_t, int64_t) { return true; }) const;

  int64_t max_tokens() const noexcept { return options_.rules.max_tokens; }

 private:
  struct Batch;
  void add(const std::string& text, Batch*) const;
  void read(TextTask, Batch*, KvCache&, std::vector<TextResult>*) const;

  const Context& context_;
  const Encoder& encoder_;
  const Tokenizer& tokenizer_;
  const Method& method_;
  EmbedderOptions options_;
};

// Scores [N] of a classifier as probabilities, in place; values stay as they are.
void to_probabilities(ClassKind, std::span<float> scores) noexcept;

}  // namespace lowkey
