// Qwen3 (Yang et al. 2025): Llama whose queries and keys are normalised head by head; a head's size is stated apart.
#include "model/families/qwen3.h"

#include "base/error.h"

namespace lowkey {

void configure_qwen3(const Hyperparameters& h, ModelConfig& c) {
  c.qk_norm = true;
  c.head_dim = h.size("head_dim", "attention.key_length", 128);
  c.qkv_bias = c.output_bias = h.flag("attention_bias", nullptr, false);
  LK_REQUIRE(!h.flag("use_sliding_window", nullptr, false), kUnsupported,
             "[config] {}: use_sliding_window is true, must be false in Qwen3", h.source());
}

const Family kQwen3 = {.model_type = "qwen3", .architecture = "qwen3", .configure = configure_qwen3};

}  // namespace lowkey
