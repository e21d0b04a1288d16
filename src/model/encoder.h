// Encoder: a model that reads a text as a whole, every token seeing all others, and answers with a vector for each
// token, or with scores of classes. Immutable once opened, as Model is; one file per family.
//
// It has the steps of a decoder's layer, project -> append -> select -> attend, and leaves them to the same policies.
// Keys and values are needed within one layer only, so the cache has room for one.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "attention/method.h"
#include "base/context.h"
#include "formats/mapped_file.h"
#include "kv/cache.h"

namespace lowkey {

struct EncoderShape {
  AttentionShape attention;  // not causal
  int vocabulary = 0;        // V
  int64_t context = 0;       // most tokens of a text
};

// How the scores of a classifier become probabilities.
enum class ClassKind : uint8_t {
  kOneOf,  // softmax: the classes exclude each other
  kEach,   // 1 / (1 + exp(-score)): any number of them may hold
  kValue,  // not at all: the score is a value
};

struct Classes {
  std::vector<std::string> labels;  // [N]; empty: the model has no classifier
  ClassKind kind = ClassKind::kOneOf;
};

// Texts one after another.
struct TextBatch {
  std::span<const int32_t> tokens;  // [T]
  std::span<const int32_t> counts;  // [B], T in sum: tokens of each text, 1 to context
};

class Encoder {
 public:
  virtual ~Encoder() = default;

  virtual const EncoderShape& shape() const noexcept = 0;
  virtual const Classes& classes() const noexcept = 0;

  // What the last layer makes of each token, into `hidden` [T, C] f32. The cache must be of encoder_kv_shape() and the
  // same method, and have room for the batch; it is as before when this returns. Throws kInvalidArgument, and
  // kUnsupported for a method that is not bidirectional.
  virtual void encode(const Context&, const Method&, KvCache&, const TextBatch&, View hidden) const = 0;
  // hidden [T, C], of encode() -> scores [B, N] f32. Throws kUnsupported without a classifier.
  virtual void classify(const Context&, const TextBatch&, View hidden, View scores) const = 0;

  // "embeddings.word_embeddings.weight f32[30522, 384]" and so on, for inspection.
  virtual std::vector<std::string> describe() const = 0;
  virtual int64_t weight_bytes() const noexcept = 0;
  // Throws kCorruptFile when a file of the model has been cut short since it was opened.
  virtual void check_unchanged() const = 0;
};

// Whether this is the Hugging Face folder of a family of encoders; false, too, for what is no model at all.
bool is_encoder(const std::filesystem::path&);
// Throws kNotFound, kCorruptFile, kUnsupported.
std::unique_ptr<Encoder> open_encoder(const std::filesystem::path&, FilePlace = FilePlace::kMapped);

// A cache for one layer of texts, `max_tokens` in all when each counts as whole pages.
KvShape encoder_kv_shape(const EncoderShape&, const Method&, DType, int64_t max_tokens);

// Throws kInvalidArgument unless the counts are in range and agree with the tokens.
void check_batch(const TextBatch&, const EncoderShape&);

}  // namespace lowkey
