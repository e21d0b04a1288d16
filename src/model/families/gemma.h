// What Gemma-2 and Gemma-3 share: norms of 1 + w before and after each part, GeGLU, scaled embeddings, tied output.
#pragma once

#include <array>

#include "model/hyperparameters.h"

namespace lowkey {

inline constexpr std::array kGemmaOuter = {
    TensorName{"output_norm.weight", "model.norm.weight", TensorChange::kPlusOne},
};
inline constexpr std::array kGemmaInner = {
    TensorName{"attn_norm.weight", "input_layernorm.weight", TensorChange::kPlusOne},
    TensorName{"attn_q_norm.weight", "self_attn.q_norm.weight", TensorChange::kPlusOne},
    TensorName{"attn_k_norm.weight", "self_attn.k_norm.weight", TensorChange::kPlusOne},
    TensorName{"post_attention_norm.weight", "post_attention_layernorm.weight", TensorChange::kPlusOne},
    TensorName{"ffn_norm.weight", "pre_feedforward_layernorm.weight", TensorChange::kPlusOne},
    TensorName{"post_ffw_norm.weight", "post_feedforward_layernorm.weight", TensorChange::kPlusOne},
};
inline constexpr std::array kGemmaAliases = {Alias{"hidden_act", "hidden_activation"}};

// GGUF files of the largest, which is known by its number of layers, do not say that its scores are scaled by the width
// over the number of heads.
void configure_gemma(const Hyperparameters&, int layers_of_27b, ModelConfig&);

}  // namespace lowkey
