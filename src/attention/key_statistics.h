// KeyStatistics: moments of the keys and queries of every layer and KV head of a model over some text, from which
// bases, bits and codebooks follow (fit_calibration.h). Moments of texts add up to those of all of them together
// (merge). Coordinates are in the layout RopeLayout::kHalf, whatever the model's own: a model keeps its statistics when
// its file's format changes.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "attention/method.h"

namespace lowkey {

struct KeyStatistics {
  int layers = 0, kv_heads = 0, head_dim = 0;
  int64_t tokens = 0;                    // counted; each adds a key and H / KH queries to a KV head
  int64_t first = 0, end = 0;            // positions counted, [first, end)
  std::vector<float> inverse_frequency;  // [R / 2] of RoPE, R <= D; of the last layer where they differ

  std::vector<double> pre_mean, post_mean;  // [L, KH, D] of keys before and after RoPE
  std::vector<double> pre_covariance;       // [L, KH, D, D]
  std::vector<double> post_covariance;      // [L, KH, D, D]
  std::vector<double> query_moment;         // [L, KH, D, D] mean of q q^T, after RoPE, about zero

  int64_t sample_size = 0;       // N
  std::vector<uint16_t> sample;  // [L, KH, N, D] f16: some of the keys after RoPE, evenly spaced over the text
};

// Where coordinate d of a head in the half layout lies in one of this layout.
inline size_t half_place(size_t d, size_t dims, RopeLayout layout) noexcept {
  return layout == RopeLayout::kHalf ? d : d % (dims / 2) * 2 + d / (dims / 2);
}

// The statistics of all texts together, with at most `sample` keys of each head, from each in proportion to its tokens.
// Throws kInvalidArgument when the shapes differ.
KeyStatistics merge(std::span<const KeyStatistics> parts, int64_t sample);

struct RecordOptions {
  int64_t tokens = 0;     // about how many will come; says how far apart the sampled keys lie
  int64_t sample = 8192;  // N
  int first = 16;         // positions of each text that are not counted: attention sinks are unlike other keys
};

// A method that attends to everything, and records. The only method that has state: one at a time, for one sequence
// at a time (its position 0 starts a text).
class KeyRecorder final : public Method {
 public:
  // Throws kInvalidArgument.
  KeyRecorder(const AttentionShape&, const RecordOptions&);
  ~KeyRecorder() override;

  void project(const LayerStep&, View x, const Qkv& qkv) const override;
  Selection select(const LayerStep&, View) const override { return {}; }

  int64_t tokens() const noexcept;
  // Throws kInvalidArgument when no token was counted.
  KeyStatistics statistics() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace lowkey
