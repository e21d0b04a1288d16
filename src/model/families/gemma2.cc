// Gemma-2 (Gemma Team 2024): every other layer has a window; scores and logits are capped softly.
#include <cmath>

#include "model/families/gemma.h"
#include "model/families/windows.h"

namespace lowkey {

void configure_gemma(const Hyperparameters& h, int layers_of_27b, ModelConfig& c) {
  c.head_dim = h.size("head_dim", "attention.key_length", 256);
  c.activation = Activation::kGeluTanh;
  c.post_norms = c.tied = true;
  c.embedding_scale = std::sqrt(static_cast<float>(c.width));
  const bool wide = h.gguf() != nullptr && c.layers == layers_of_27b && c.heads > 0;
  const double queries = h.number("query_pre_attn_scalar", nullptr, wide ? c.width / c.heads : c.head_dim);
  c.attention_scale =
      static_cast<float>(h.number(nullptr, "attention.scale", queries > 0 ? 1 / std::sqrt(queries) : 0));
}

namespace {

void configure(const Hyperparameters& h, ModelConfig& c) {
  configure_gemma(h, 46, c);
  c.attention_cap = static_cast<float>(h.number("attn_logit_softcapping", "attn_logit_softcapping", 0));
  c.logit_cap = static_cast<float>(h.number("final_logit_softcapping", "final_logit_softcapping", 0));
  set_windows(h, h.integer("sliding_window", "attention.sliding_window", 4096), 2, c);
}

}  // namespace

const Family kGemma2 = {.model_type = "gemma2",
                        .architecture = "gemma2",
                        .outer = kGemmaOuter,
                        .inner = kGemmaInner,
                        .aliases = kGemmaAliases,
                        .configure = configure};

}  // namespace lowkey
