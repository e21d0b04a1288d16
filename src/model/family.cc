#include "model/family.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/printable.h"

namespace lowkey {
namespace {

// Llama comes first: of those whose GGUF files say "llama", it is the one that reads them.
constexpr std::array kFamilies = {&kLlama, &kMistral, &kMixtral, &kQwen2,  &kQwen3, &kQwen3Moe,
                                  &kPhi3,  &kGptNeox, &kGpt2,    &kGemma2, &kGemma3};

constexpr std::array kOuterNames = {
    TensorName{"token_embd.weight", "model.embed_tokens.weight"},
    TensorName{"output_norm.weight", "model.norm.weight"},
    TensorName{"output.weight", "lm_head.weight"},
};
constexpr std::array kInnerNames = {
    TensorName{"attn_norm.weight", "input_layernorm.weight"},
    TensorName{"attn_q.weight", "self_attn.q_proj.weight"},
    TensorName{"attn_k.weight", "self_attn.k_proj.weight"},
    TensorName{"attn_v.weight", "self_attn.v_proj.weight"},
    TensorName{"attn_output.weight", "self_attn.o_proj.weight"},
    TensorName{"attn_q.bias", "self_attn.q_proj.bias"},
    TensorName{"attn_k.bias", "self_attn.k_proj.bias"},
    TensorName{"attn_v.bias", "self_attn.v_proj.bias"},
    TensorName{"attn_output.bias", "self_attn.o_proj.bias"},
    TensorName{"attn_q_norm.weight", "self_attn.q_norm.weight"},
    TensorName{"attn_k_norm.weight", "self_attn.k_norm.weight"},
    TensorName{"ffn_norm.weight", "post_attention_layernorm.weight"},
    TensorName{"ffn_gate.weight", "mlp.gate_proj.weight"},
    TensorName{"ffn_up.weight", "mlp.up_proj.weight"},
    TensorName{"ffn_down.weight", "mlp.down_proj.weight"},
    TensorName{"ffn_gate.bias", "mlp.gate_proj.bias"},
    TensorName{"ffn_up.bias", "mlp.up_proj.bias"},
    TensorName{"ffn_down.bias", "mlp.down_proj.bias"},
};

const TensorName* find(std::span<const TensorName> own, std::span<const TensorName> shared, std::string_view gguf) {
  for (const auto& names : {own, shared})
    for (const TensorName& name : names)
      if (name.gguf == gguf) return &name;
  return nullptr;
}

const Family& find_family(std::string_view Family::* word, const char* key, const std::string& value,
                          const std::string& source) {
  std::vector<std::string_view> known;
  for (const Family* family : kFamilies) {
    if (family->*word == value) return *family;
    if (std::find(known.begin(), known.end(), family->*word) == known.end()) known.push_back(family->*word);
  }
  throw Error(ErrorKind::kUnsupported, fmt::format("[config] {}: {} '{}', must be one of: {}", source, key,
                                                   printable(value), fmt::join(known, ", ")));
}

}  // namespace

const Family& family_of_model_type(const std::string& model_type, const std::string& source) {
  return find_family(&Family::model_type, "model_type", model_type, source);
}

const Family& family_of_architecture(const std::string& architecture, const std::string& source) {
  return find_family(&Family::architecture, "general.architecture", architecture, source);
}

HuggingFaceTensor hugging_face_tensor(const Family& family, const std::string& gguf_name, int expert) {
  if (const TensorName* outer = find(family.outer, kOuterNames, gguf_name))
    return {std::string(outer->hugging_face), outer->change};
  constexpr std::string_view kPrefix = "blk.";
  const size_t dot = gguf_name.find('.', kPrefix.size());
  if (!gguf_name.starts_with(kPrefix) || dot == std::string::npos) return {};
  const TensorName* inner = find(family.inner, kInnerNames, std::string_view(gguf_name).substr(dot + 1));
  if (inner == nullptr) return {};
  std::string name = std::string(family.layers) + gguf_name.substr(kPrefix.size(), dot - kPrefix.size()) + "." +
                     std::string(inner->hugging_face);
  if (const size_t hole = name.find("{}"); hole != std::string::npos) name.replace(hole, 2, std::to_string(expert));
  return {std::move(name), inner->change};
}

namespace {

// The tensors of a model, one after another.
class Tensors {
 public:
  explicit Tensors(const ModelConfig& config) : c_(config) {}

  void norm(const std::string& name, int64_t size) {
    vector(name + ".weight", size);
    if (c_.norm == NormKind::kLayer) vector(name + ".bias", size);
  }
  void linear(const std::string& name, int64_t rows, int64_t columns, bool bias, int rotated_heads = 0) {
    list_.push_back({.name = name + ".weight", .shape = {rows, columns}, .rotated_heads = rotated_heads});
    if (bias) vector(name + ".bias", rows, rotated_heads);
  }
  void table(const std::string& name, int64_t rows, bool makes_logits) {
    list_.push_back({.name = name, .shape = {rows, c_.width}, .makes_logits = makes_logits});
  }
  void experts(const std::string& name, int64_t rows, int64_t columns) {
    list_.push_back({.name = name, .shape = {c_.experts, rows, columns}});
  }
  void attention(const std::string& layer) {
    const int64_t queries = int64_t{c_.heads} * c_.head_dim, keys = int64_t{c_.kv_heads} * c_.head_dim;
    norm(layer + "attn_norm", c_.width);
    if (c_.fused_qkv) {
      linear(layer + "attn_qkv", queries + 2 * keys, c_.width, c_.qkv_bias);
    } else {
      linear(layer + "attn_q", queries, c_.width, c_.qkv_bias, c_.heads);
      linear(layer + "attn_k", keys, c_.width, c_.qkv_bias, c_.kv_heads);
      linear(layer + "attn_v", keys, c_.width, c_.qkv_bias);
    }
    if (c_.qk_norm)
      for (const char* name : {"attn_q_norm.weight", "attn_k_norm.weight"}) vector(layer + name, c_.head_dim);
    linear(layer + "attn_output", c_.width, queries, c_.output_bias);
    if (c_.post_norms) norm(layer + "post_attention_norm", c_.width);
  }
  void feed_forward(const std::string& layer, bool mixture) {
    norm(layer + "ffn_norm", c_.width);
    if (mixture) {
      const int64_t inner = c_.expert_ffn > 0 ? c_.expert_ffn : c_.ffn;
      linear(layer + "ffn_gate_inp", c_.experts, c_.width, false);
      experts(layer + "ffn_gate_exps.weight", inner, c_.width);
      experts(layer + "ffn_up_exps.weight", inner, c_.width);
      experts(layer + "ffn_down_exps.weight", c_.width, inner);
    } else {
      if (c_.gated && !c_.fused_gate) linear(layer + "ffn_gate", c_.ffn, c_.width, c_.ffn_bias);
      linear(layer + "ffn_up", c_.fused_gate ? int64_t{2} * c_.ffn : c_.ffn, c_.width, c_.ffn_bias);
      linear(layer + "ffn_down", c_.width, c_.ffn, c_.ffn_bias);
    }
    if (c_.post_norms) norm(layer + "post_ffw_norm", c_.width);
  }
  std::vector<TensorSpec> take() { return std::move(list_); }

 private:
  void vector(std::string name, int64_t size, int rotated_heads = 0) {
    list_.push_back({.name = std::move(name), .shape = {size}, .rotated_heads = rotated_heads});
  }

  const ModelConfig& c_;
  std::vector<TensorSpec> list_;
};

}  // namespace

std::vector<TensorSpec> tensors_of(const ModelConfig& c) {
  Tensors all(c);
  all.table("token_embd.weight", c.vocabulary, c.tied);
  if (c.learned_positions) all.table("position_embd.weight", c.context, false);
  for (int i = 0; i < c.layers; ++i) {
    const std::string layer = fmt::format("blk.{}.", i);
    all.attention(layer);
    all.feed_forward(layer, c.mixture(i));
  }
  all.norm("output_norm", c.width);
  if (!c.tied) all.table("output.weight", c.vocabulary, true);
  return all.take();
}

}  // namespace lowkey
