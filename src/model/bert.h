// bert: BERT (Devlin et al. 2019) as Hugging Face's BertModel and BertForSequenceClassification compute it: embeddings
// of words, positions and token types; layers with biases that are normalised after each residual sum; GELU. All tokens
// are of type 0: one text, not a pair.
#pragma once

#include "formats/safetensors.h"
#include "model/bert_config.h"
#include "model/encoder.h"
#include "model/layers.h"

namespace lowkey {

class Bert final : public Encoder {
 public:
  static constexpr std::string_view kFamily = "bert";  // model_type in config.json

  // Throws kNotFound, kCorruptFile, kUnsupported when a tensor is missing or of another shape or type.
  Bert(BertConfig, Safetensors);

  const EncoderShape& shape() const noexcept override { return shape_; }
  const Classes& classes() const noexcept override { return config_.classes; }
  void encode(const Context&, const Method&, KvCache&, const TextBatch&, View hidden) const override;
  void classify(const Context&, const TextBatch&, View hidden, View scores) const override;
  std::vector<std::string> describe() const override;
  int64_t weight_bytes() const noexcept override;
  void check_unchanged() const override { file_.check_unchanged(); }

 private:
  struct Layer {
    Linear query, key, value, output;  // [C, C]
    Linear up, down;                   // [F, C], [C, F]
    Norm attention_norm, ffn_norm;
  };

  View tensor(const std::string& name, std::initializer_list<int64_t> shape) const;
  std::vector<float> vector(const std::string& name, int64_t size) const;
  Linear linear(const std::string& name, int64_t outputs, int64_t inputs) const;
  Norm norm(const std::string& name) const;

  void embed_tokens(const Context&, const TextBatch&, std::span<int32_t> positions, View x) const;
  void attend(const LayerStep&, const Method&, const Layer&, View x) const;
  void feed_forward(const Context&, const Layer&, View x) const;

  BertConfig config_;
  Safetensors file_;
  std::string prefix_;  // of the names of all tensors but the classifier's: "bert." or ""
  EncoderShape shape_;
  View words_, positions_;   // [V, C], [context, C]
  std::vector<float> type_;  // [C], of token type 0
  Norm embedding_norm_;
  std::vector<Layer> layers_;
  Linear pooler_, classifier_;  // [C, C], [N, C]; none without a classifier
};

}  // namespace lowkey
