// Qwen2 and Qwen2.5 (Yang et al. 2024): Llama with biases of q, k and v. Its later layers may have a sliding window.
#include "model/families/windows.h"

namespace lowkey {
namespace {

void configure(const Hyperparameters& h, ModelConfig& c) {
  c.qkv_bias = true;
  if (h.gguf() != nullptr) return set_windows(h, h.integer(nullptr, "attention.sliding_window", 0), 0, c);
  if (!h.flag("use_sliding_window", nullptr, false)) return;
  set_windows(h, h.integer("sliding_window", nullptr, 4096), 0, c);
  if (h.config()->find("layer_types") != nullptr) return;
  const int64_t whole = h.integer("max_window_layers", nullptr, 28);
  for (size_t i = 0; i < c.windows.size(); ++i)
    if (static_cast<int64_t>(i) < whole) c.windows[i] = 0;
}

}  // namespace

const Family kQwen2 = {.model_type = "qwen2", .architecture = "qwen2", .configure = configure};

}  // namespace lowkey
