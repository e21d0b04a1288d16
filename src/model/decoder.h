// Decoder: the forward pass of all families (family.h), of whatever parts theirs is built: norm, attention, norm,
// feed-forward, with a residual stream in f32.
#pragma once

#include <map>

#include "model/checkpoint.h"
#include "model/feed_forward.h"
#include "model/layers.h"
#include "model/model.h"

namespace lowkey {

class Decoder final : public Model {
 public:
  // Throws kNotFound, kCorruptFile, kUnsupported when a tensor is missing or of another shape or type.
  explicit Decoder(Checkpoint);

  const ModelShape& shape() const noexcept override { return shape_; }
  StepStatistics forward(const Context&, const Method&, KvCache&, const Step&) const override;
  std::vector<std::string> describe() const override;
  int64_t weight_bytes() const noexcept override;
  std::string fingerprint() const override;
  void check_unchanged() const override { checkpoint_.check_unchanged(); }

 private:
  struct Layer {
    Norm attention_norm, ffn_norm;
    Norm attention_post_norm, ffn_post_norm;                    // or none
    std::vector<float> q_bias, k_bias, v_bias, q_norm, k_norm;  // what projections points to
    Projections projections;
    Linear output;  // [C, H * D]
    FeedForward feed_forward;
    Mixture mixture;  // in its place when it has experts
    int64_t window = 0;
  };

  // Weights by their GGUF names.
  View weight(const std::string& name) const;
  std::vector<float> vector(const std::string& name) const;  // empty when the family has none
  Linear linear(const std::string& name) const;
  Norm norm(const std::string& name) const;
  void read_projections(const std::string& prefix, Layer&) const;
  void read_feed_forward(const std::string& prefix, bool mixture, Layer&) const;

  void embed_tokens(const Context&, const Step&, std::span<const int32_t> positions, View x) const;
  bool has_own_rope(const Layer& layer) const noexcept {  // unscaled, that of windows
    return layer.window > 0 && checkpoint_.config().rope.window_base > 0;
  }
  const std::vector<float>& frequencies(const Layer&, const KvCache&) const noexcept;
  int64_t attend(const LayerStep&, const Method&, const Layer&, View x, View out) const;
  void feed_forward(const Context&, const Layer&, View x, View out) const;
  void write_logits(const Context&, const Step&, View x) const;

  Checkpoint checkpoint_;
  ModelShape shape_;
  std::vector<TensorSpec> specs_;                     // in the order of the file
  std::map<std::string, std::vector<View>> tensors_;  // what makes them up
  View embedding_;                                    // [V, C]
  View positions_;                                    // [context, C], or none
  View output_;                                       // [V, C]; the embedding itself when tied
  Norm output_norm_;
  std::vector<float> frequency_, short_frequency_, window_frequency_;  // [R / 2]
  std::vector<Layer> layers_;
};

}  // namespace lowkey
