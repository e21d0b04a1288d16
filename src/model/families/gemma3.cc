// Gemma-3 (Gemma Team 2025), its text models: five layers of six have a window and a RoPE of their own; queries and
// keys are normalised.
#include "model/families/gemma.h"
#include "model/families/windows.h"

namespace lowkey {
namespace {

void configure(const Hyperparameters& h, ModelConfig& c) {
  configure_gemma(h, 62, c);
  c.qk_norm = true;
  c.rope.base = 1e6;
  c.rope.window_base = h.number("rope_local_base_freq", "rope.freq_base_swa", 10000);
  const int64_t period = h.integer("sliding_window_pattern", nullptr, 6);
  set_windows(h, h.integer("sliding_window", "attention.sliding_window", 4096),
              period >= 1 && period <= 4096 ? static_cast<int>(period) : 6, c);
}

}  // namespace

const Family kGemma3 = {.model_type = "gemma3_text",
                        .architecture = "gemma3",
                        .outer = kGemmaOuter,
                        .inner = kGemmaInner,
                        .aliases = kGemmaAliases,
                        .configure = configure};

}  // namespace lowkey
