// Phi-3, Phi-3.5 and Phi-4-mini (Abdin et al. 2024): Llama with fused matrices, and for long contexts RoPE whose
// frequencies are divided one by one.
#include <array>

#include "model/families/windows.h"

namespace lowkey {
namespace {

constexpr std::array kNames = {
    TensorName{"attn_qkv.weight", "self_attn.qkv_proj.weight"},
    TensorName{"ffn_up.weight", "mlp.gate_up_proj.weight"},
};

void configure(const Hyperparameters& h, ModelConfig& c) {
  c.fused_qkv = c.fused_gate = true;
  set_windows(h, h.integer("sliding_window", "attention.sliding_window", 0), 0, c);
}

}  // namespace

const Family kPhi3 = {.model_type = "phi3", .architecture = "phi3", .inner = kNames, .configure = configure};

}  // namespace lowkey
