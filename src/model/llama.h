// llama: the Llama family (Touvron et al. 2023) as Hugging Face's LlamaForCausalLM computes it: RMSNorm, grouped
// queries, RoPE, SwiGLU, residual stream in f32.
#pragma once

#include "model/checkpoint.h"
#include "model/model.h"

namespace lowkey {

class Llama final : public Model {
 public:
  // Throws kNotFound, kCorruptFile, kUnsupported when a tensor is missing or of another shape or type.
  explicit Llama(Checkpoint);

  const ModelShape& shape() const noexcept override { return shape_; }
  StepStatistics forward(const Context&, const Method&, KvCache&, const Step&) const override;
  std::vector<std::string> describe() const override;
  int64_t weight_bytes() const noexcept override;
  std::string fingerprint() const override;
  void check_unchanged() const override { checkpoint_.check_unchanged(); }

 private:
  struct Layer {
    std::vector<float> attention_norm, ffn_norm;  // [C]
    Projections projections;
    View gate, up;  // [F, C]
    View down;      // [C, F]
  };

  int64_t attend(const LayerStep&, const Method&, const Layer&, View x) const;
  void feed_forward(const Context&, const Layer&, View x) const;
  void write_logits(const Context&, const Step&, View x) const;

  Checkpoint checkpoint_;
  ModelShape shape_;
  View embedding_;                        // [V, C]
  View output_;                           // [V, C]; the embedding itself when tied
  std::vector<float> output_norm_;        // [C]
  std::vector<float> inverse_frequency_;  // [D / 2]
  std::vector<Layer> layers_;
};

}  // namespace lowkey
