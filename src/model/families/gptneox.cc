// GPT-NeoX and Pythia (Black et al. 2022): LayerNorm, biases everywhere, GELU, RoPE on a part of each head, attention
// and feed-forward from the same input.
#include <array>

#include "model/hyperparameters.h"

namespace lowkey {
namespace {

constexpr std::array kOuter = {
    TensorName{"token_embd.weight", "gpt_neox.embed_in.weight"},
    TensorName{"output_norm.weight", "gpt_neox.final_layer_norm.weight"},
    TensorName{"output_norm.bias", "gpt_neox.final_layer_norm.bias"},
    TensorName{"output.weight", "embed_out.weight"},
};
constexpr std::array kInner = {
    TensorName{"attn_norm.weight", "input_layernorm.weight"},
    TensorName{"attn_norm.bias", "input_layernorm.bias"},
    TensorName{"attn_qkv.weight", "attention.query_key_value.weight", TensorChange::kHeadsApart},
    TensorName{"attn_qkv.bias", "attention.query_key_value.bias", TensorChange::kHeadsApart},
    TensorName{"attn_output.weight", "attention.dense.weight"},
    TensorName{"attn_output.bias", "attention.dense.bias"},
    TensorName{"ffn_norm.weight", "post_attention_layernorm.weight"},
    TensorName{"ffn_norm.bias", "post_attention_layernorm.bias"},
    TensorName{"ffn_up.weight", "mlp.dense_h_to_4h.weight"},
    TensorName{"ffn_up.bias", "mlp.dense_h_to_4h.bias"},
    TensorName{"ffn_down.weight", "mlp.dense_4h_to_h.weight"},
    TensorName{"ffn_down.bias", "mlp.dense_4h_to_h.bias"},
};
constexpr std::array kAliases = {
    Alias{"rope_theta", "rotary_emb_base"},
    Alias{"partial_rotary_factor", "rotary_pct"},
};

void configure(const Hyperparameters& h, ModelConfig& c) {
  c.norm = NormKind::kLayer;
  c.activation = Activation::kGelu;
  c.gated = false;
  c.parallel = h.flag("use_parallel_residual", "use_parallel_residual", true);
  c.fused_qkv = c.ffn_bias = true;
  c.qkv_bias = c.output_bias = h.flag("attention_bias", nullptr, true);
}

}  // namespace

const Family kGptNeox = {.model_type = "gpt_neox",
                         .architecture = "gptneox",
                         .layers = "gpt_neox.layers.",
                         .outer = kOuter,
                         .inner = kInner,
                         .aliases = kAliases,
                         .configure = configure};

}  // namespace lowkey
