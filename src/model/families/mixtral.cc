// Mixtral (Jiang et al. 2024): Mistral with eight feed-forward parts in a layer, of which each token goes through two.
#include <array>

#include "model/families/llama.h"
#include "model/families/windows.h"

namespace lowkey {
namespace {

constexpr std::array kNames = {
    TensorName{"ffn_gate_inp.weight", "block_sparse_moe.gate.weight"},
    TensorName{"ffn_gate_exps.weight", "block_sparse_moe.experts.{}.w1.weight"},
    TensorName{"ffn_up_exps.weight", "block_sparse_moe.experts.{}.w3.weight"},
    TensorName{"ffn_down_exps.weight", "block_sparse_moe.experts.{}.w2.weight"},
};

void configure(const Hyperparameters& h, ModelConfig& c) {
  configure_llama(h, c);
  c.experts = h.size("num_local_experts", nullptr, 8);
  c.experts_used = h.size("num_experts_per_tok", nullptr, 2);
  set_windows(h, h.integer("sliding_window", nullptr, 0), 0, c);
}

}  // namespace

const Family kMixtral = {.model_type = "mixtral",
                         .architecture = "llama",
                         .inner = kNames,
                         .gguf_layout = RopeLayout::kInterleaved,
                         .configure = configure};

}  // namespace lowkey
