// GPT-2 (Radford et al. 2019): learned positions, LayerNorm, biases everywhere, GELU by its tanh form; matrices lie
// transposed in Hugging Face folders.
#include <array>

#include "base/error.h"
#include "model/hyperparameters.h"

namespace lowkey {
namespace {

constexpr std::array kOuter = {
    TensorName{"token_embd.weight", "transformer.wte.weight"},
    TensorName{"position_embd.weight", "transformer.wpe.weight"},
    TensorName{"output_norm.weight", "transformer.ln_f.weight"},
    TensorName{"output_norm.bias", "transformer.ln_f.bias"},
};
constexpr std::array kInner = {
    TensorName{"attn_norm.weight", "ln_1.weight"},
    TensorName{"attn_norm.bias", "ln_1.bias"},
    TensorName{"attn_qkv.weight", "attn.c_attn.weight", TensorChange::kTranspose},
    TensorName{"attn_qkv.bias", "attn.c_attn.bias"},
    TensorName{"attn_output.weight", "attn.c_proj.weight", TensorChange::kTranspose},
    TensorName{"attn_output.bias", "attn.c_proj.bias"},
    TensorName{"ffn_norm.weight", "ln_2.weight"},
    TensorName{"ffn_norm.bias", "ln_2.bias"},
    TensorName{"ffn_up.weight", "mlp.c_fc.weight", TensorChange::kTranspose},
    TensorName{"ffn_up.bias", "mlp.c_fc.bias"},
    TensorName{"ffn_down.weight", "mlp.c_proj.weight", TensorChange::kTranspose},
    TensorName{"ffn_down.bias", "mlp.c_proj.bias"},
};
constexpr std::array kAliases = {
    Alias{"num_hidden_layers", "n_layer"},           Alias{"hidden_size", "n_embd"},
    Alias{"num_attention_heads", "n_head"},          Alias{"intermediate_size", "n_inner"},
    Alias{"max_position_embeddings", "n_positions"}, Alias{"layer_norm_eps", "layer_norm_epsilon"},
    Alias{"hidden_act", "activation_function"},
};

void configure(const Hyperparameters& h, ModelConfig& c) {
  c.norm = NormKind::kLayer;
  c.activation = Activation::kGeluTanh;
  c.gated = false;
  c.learned_positions = true;
  c.fused_qkv = c.qkv_bias = c.output_bias = c.ffn_bias = true;
  c.tied = true;
  if (c.ffn == 0 && c.width <= 1 << 20) c.ffn = 4 * c.width;
  LK_REQUIRE(!h.flag("scale_attn_by_inverse_layer_idx", nullptr, false) && h.flag("scale_attn_weights", nullptr, true),
             kUnsupported, "[config] {}: attention must be scaled by the size of a head alone", h.source());
}

}  // namespace

const Family kGpt2 = {.model_type = "gpt2",
                      .architecture = "gpt2",
                      .layers = "transformer.h.",
                      .outer = kOuter,
                      .inner = kInner,
                      .optional_prefix = "transformer.",
                      .aliases = kAliases,
                      .configure = configure};

}  // namespace lowkey
