// Llama (Touvron et al. 2023), Llama-2, Llama-3, TinyLlama: RMSNorm, grouped queries, RoPE, SwiGLU. GGUF files of the
// architecture "llama" hold Mistral and Mixtral too: those have windows or experts besides.
#include "model/families/llama.h"

#include "model/families/windows.h"

namespace lowkey {

void configure_llama(const Hyperparameters& h, ModelConfig& c) {
  const Gguf* file = h.gguf();
  if (file == nullptr) {
    c.qkv_bias = c.output_bias = h.flag("attention_bias", nullptr, false);
    c.ffn_bias = h.flag("mlp_bias", nullptr, false);
    return;
  }
  c.qkv_bias = file->find("blk.0.attn_q.bias") != nullptr;
  c.output_bias = file->find("blk.0.attn_output.bias") != nullptr;
  c.ffn_bias = file->find("blk.0.ffn_up.bias") != nullptr;
  c.experts = h.size(nullptr, "expert_count", 0);
  c.experts_used = h.size(nullptr, "expert_used_count", 0);
  set_windows(h, h.integer(nullptr, "attention.sliding_window", 0), 0, c);
}

const Family kLlama = {.model_type = "llama",
                       .architecture = "llama",
                       .gguf_layout = RopeLayout::kInterleaved,
                       .configure = configure_llama};

}  // namespace lowkey
