// Model: weights and the forward pass. Immutable once opened; many steps may run on it at once, each with a
// context of its own. One file per family.
#pragma once

#include <cstdint>
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

struct ModelShape {
  AttentionShape attention;
  int vocabulary = 0;   // V
  int64_t context = 0;  // positions the model was trained for
};

// The new tokens of one sequence. The cache must already have room for them (KvCache::grow).
struct StepSequence {
  KvCache::SequenceId id;
  int32_t count;  // >= 1
};

struct Step {
  std::span<const int32_t> tokens;          // [T], the sequences one after another
  std::span<const StepSequence> sequences;  // [B]
  std::span<const int32_t> logit_rows;      // [R] rows of the step whose logits are wanted, ascending
  View logits;                              // out [R, V] f32
};

struct StepStatistics {
  int64_t attention_bytes = 0;  // read from the cache and the method's index, over all layers
};

class Model {
 public:
  virtual ~Model() = default;

  virtual const ModelShape& shape() const noexcept = 0;
  // Throws kInvalidArgument (a token outside the vocabulary, counts that disagree). The cache's lengths must
  // already count the step's tokens; it must have been made for the same method (kv_shape).
  virtual StepStatistics forward(const Context&, const Method&, KvCache&, const Step&) const = 0;
  // "blk.0.attn_q.weight f32[512, 512]" and so on, for inspection.
  virtual std::vector<std::string> describe() const = 0;
  virtual int64_t weight_bytes() const noexcept = 0;
  // Tells models apart whose keys differ: the architecture's numbers, and a hash of the weights that every file of a
  // model keeps exactly, whatever type its matrices have (those of RMSNorm). One word.
  virtual std::string fingerprint() const = 0;
  // Throws kCorruptFile when a file of the model has been cut short since it was opened.
  virtual void check_unchanged() const = 0;
};

// MODEL is a .gguf file or a Hugging Face folder. Throws kNotFound, kCorruptFile, kUnsupported.
std::unique_ptr<Model> open_model(const std::filesystem::path&, FilePlace = FilePlace::kMapped);

// A cache for this model and method.
KvShape kv_shape(const ModelShape&, const Method&, DType, int64_t max_tokens);

}  // namespace lowkey
