// Qwen3's mixtures of experts (Yang et al. 2025; 30B-A3B, 235B-A22B): Qwen3 with many narrow feed-forward parts in a
// layer, of which each token goes through a few. Some layers may have one part of full width instead.
#include <algorithm>
#include <array>

#include "base/error.h"
#include "model/families/qwen3.h"

namespace lowkey {
namespace {

constexpr std::array kNames = {
    TensorName{"ffn_gate_inp.weight", "mlp.gate.weight"},
    TensorName{"ffn_gate_exps.weight", "mlp.experts.{}.gate_proj.weight"},
    TensorName{"ffn_up_exps.weight", "mlp.experts.{}.up_proj.weight"},
    TensorName{"ffn_down_exps.weight", "mlp.experts.{}.down_proj.weight"},
};
constexpr std::array kAliases = {Alias{"num_experts", "num_local_experts"}};

// Layers without experts. config.json lists them, or says that only every `step`-th layer has experts; in GGUF they
// are known by their tensors.
std::vector<bool> plain_layers(const Hyperparameters& h, int layers) {
  std::vector<bool> plain(static_cast<size_t>(std::clamp(layers, 0, 4096)), false);
  if (h.gguf() != nullptr) {
    for (size_t i = 0; i < plain.size(); ++i)
      plain[i] = h.gguf()->find(fmt::format("blk.{}.ffn_gate_inp.weight", i)) == nullptr;
    return plain;
  }
  const int64_t step = h.integer("decoder_sparse_step", nullptr, 1);
  LK_REQUIRE(step >= 1, kCorruptFile, "[config] {}: decoder_sparse_step={}, must be >= 1", h.source(), step);
  for (size_t i = 0; i < plain.size(); ++i) plain[i] = (static_cast<int64_t>(i) + 1) % step != 0;
  const nlohmann::json* list = h.config()->find("mlp_only_layers");
  if (list == nullptr) return plain;
  LK_REQUIRE(list->is_array(), kCorruptFile, "[config] {}: mlp_only_layers is a {}, must be an array", h.source(),
             list->type_name());
  for (size_t i = 0; i < plain.size(); ++i)
    if (std::find(list->begin(), list->end(), i) != list->end()) plain[i] = true;
  return plain;
}

void configure(const Hyperparameters& h, ModelConfig& c) {
  configure_qwen3(h, c);
  c.experts = h.size("num_experts", "expert_count", 128);
  c.experts_used = h.size("num_experts_per_tok", "expert_used_count", 8);
  c.expert_ffn = h.size("moe_intermediate_size", "expert_feed_forward_length",
                        h.config() || c.experts_used < 1 ? 768 : c.ffn / c.experts_used);
  // transformers takes what is not said as false; llama.cpp, for want of a key, as true, which published models say.
  c.routes_sum_to_one = h.flag("norm_topk_prob", "expert_weights_norm", h.config() == nullptr);
  c.plain_layers = plain_layers(h, c.layers);
}

}  // namespace

const Family kQwen3Moe = {.model_type = "qwen3_moe",
                          .architecture = "qwen3moe",
                          .inner = kNames,
                          .aliases = kAliases,
                          .configure = configure};

}  // namespace lowkey
