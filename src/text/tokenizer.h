// Tokenizer: text <-> token ids. Byte-level BPE (with the pre-tokenizer of a model's family) and SentencePiece
// (Llama-2, Mistral, Phi-3, Gemma; unigram vocabularies too), read from a Hugging Face tokenizer.json, from a
// tokenizer.model or from the metadata of a GGUF file; WordPiece (BERT), read from tokenizer.json or vocab.txt.
// Immutable once made, so threads may share it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lowkey {

enum class Pretokenizer : uint8_t { kGpt2, kLlama3, kQwen2, kSplits };

// What makes a WordPiece tokenizer: how BERT normalises a text, and cuts its words into pieces of the vocabulary.
struct WordPieceRules {
  bool clean = true;    // control characters go, white space becomes ' '
  bool chinese = true;  // CJK ideographs are words of their own
  bool accents = true;  // are taken off: decomposed, without nonspacing marks
  bool lowercase = true;
  std::string prefix = "##";   // of pieces that go on within a word
  int32_t unknown = -1;        // the id of a word that cannot be cut
  int64_t most_symbols = 100;  // a longer word is unknown
};

// What makes a SentencePiece tokenizer: a vocabulary with "▁" for the space, whose pieces are joined from symbols (BPE)
// or chosen together (unigram).
struct SentencePieceRules {
  enum class Prefix : uint8_t { kNever, kFirst, kAlways };
  std::vector<double> scores;       // [V] the piece of the highest score is joined first; empty: spec.merges says
  bool unigram = false;             // the pieces whose scores have the highest sum are taken instead
  bool narrow = false;              // unigram: sums are rounded to f32
  bool byte_fallback = true;        // what no piece has is spelled in tokens "<0x00>" to "<0xFF>"
  int32_t unknown = -1;             // without byte_fallback: stands for a run of what no piece has
  Prefix prefix = Prefix::kAlways;  // a space goes before: no text; the whole; also what follows a token matched whole
  bool late = false;             // spaces are marked after the late tokens are matched; then none goes before a space
  bool split = false;            // nothing joins over a space
  bool late_as_written = false;  // late tokens are looked for as they are, not as normalising would make them
  std::string charsmap;          // precompiled_charsmap: how characters are rewritten first; empty: they are not
  bool graphemes = false;        // as Hugging Face goes by it (text/charsmap.h)
  bool strip_spaces = false;     // none at the ends, one for many between words
  bool strip_right = false;      // no white space at the end
  bool squeeze = false;          // one space for many
  bool words = false;            // late: white space of any kind only parts words, each of which gets a space before it
};

// All that defines a tokenizer, whatever file it came from: byte-level BPE; with `wordpiece` or `sentencepiece` one of
// these, which have plain text in `tokens` and none of the fields marked BPE.
struct TokenizerSpec {
  std::vector<std::string> tokens;  // [V] byte-level (GPT-2 alphabet) text of each id; special ones are plain text
  std::vector<std::string> merges;  // BPE: "left right", best first
  std::vector<int32_t> special;     // ids that are matched whole and never split; control tokens
  std::vector<int32_t> added;       // ids matched whole too, but ordinary text when decoded
  std::vector<int32_t> guarded;     // of these, the ids that no stranger's text becomes: marks of a template
  std::vector<int32_t> late;        // of these, the ids matched only after all others and after normalising
  std::vector<int32_t> takes_left, takes_right;  // and those that swallow the white space beside them
  std::vector<int32_t> whole_words;              // and those not matched within a word
  std::optional<WordPieceRules> wordpiece;
  std::optional<SentencePieceRules> sentencepiece;
  Pretokenizer pretokenizer = Pretokenizer::kGpt2;  // BPE
  std::vector<std::string> splits;  // BPE, kSplits: regular expressions, each cutting what those before it left, at its
                                    // matches and between them
  bool nfc = false;                 // BPE: text is brought to Unicode's composed form first (Qwen2)
  bool ignore_merges = false;       // BPE: a piece that is a token as a whole is taken as it is (Llama-3)
  bool add_prefix_space = false;    // BPE: a text, or what follows a token matched whole, gets a space before it
  int32_t bos = -1, eos = -1;       // -1: none; BERT's [CLS] and [SEP]
  bool add_bos = false;             // encode() starts with bos when asked for special tokens
  bool add_eos = false;             // and ends with eos
  std::vector<int32_t> end_ids;     // ids that end a generation: eos, end of turn
  std::string chat_template;        // how a conversation is written (text/chat_template.h); "": not said
  std::string source = "tokenizer";  // the file it came from, for errors
};

struct TextRange {
  size_t begin = 0, end = 0;  // bytes
};

class Tokenizer {
 public:
  // Throws kInvalidArgument (a merge of unknown tokens, no token for a byte, an id out of range).
  explicit Tokenizer(TokenizerSpec);
  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;

  struct EncodeOptions {
    bool add_bos = true;                   // special tokens around the text, those that the model wants
    bool parse_special = true;             // "<|eot_id|>" in the text becomes the token; off for text of strangers
    std::span<const TextRange> strangers;  // parts of the text, ascending, no byte of which becomes such a token
  };
  // Any bytes are allowed: invalid UTF-8 encodes byte by byte and decodes to the same bytes
  // (with nfc: to the composed form of the valid parts). WordPiece drops what is invalid, and its way back is only
  // readable: pieces joined by spaces. SentencePiece without byte_fallback loses what it has no piece for. Throws
  // kInvalidArgument for 2 GiB or more.
  std::vector<int32_t> encode(std::string_view text, const EncodeOptions& options) const;
  std::vector<int32_t> encode(std::string_view text) const { return encode(text, EncodeOptions{}); }

  // The bytes of one id: "" for special ids unless with_special. Throws kInvalidArgument for an unknown id.
  std::string_view piece(int32_t id, bool with_special = false) const;
  // The pieces of all, without the space that encode() put before the text.
  std::string decode(const std::vector<int32_t>& ids, bool with_special = false) const;

  int vocabulary_size() const noexcept;
  const TokenizerSpec& spec() const noexcept;
  bool ends_generation(int32_t id) const noexcept;

 private:
  struct Impl;
  std::unique_ptr<const Impl> impl_;
};

// Decodes a stream of ids into text that never ends within a UTF-8 character.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer) : tokenizer_(&tokenizer) {}
  // The text that became certain with this id, maybe "".
  std::string push(int32_t id);
  // What is left at the end: incomplete bytes become U+FFFD.
  std::string finish();

 private:
  const Tokenizer* tokenizer_;
  std::string pending_;  // the bytes of an unfinished character, at most 3
};

// Reads tokenizer.json (its text; `source` names it in errors) with, if not empty, tokenizer_config.json.
// Throws kCorruptFile, kUnsupported.
TokenizerSpec parse_tokenizer_json(std::string_view json, std::string_view config_json, const std::string& source);

}  // namespace lowkey
