#include "model/checkpoint.h"

#include <array>
#include <fstream>
#include <sstream>

#include "base/error.h"

namespace lowkey {
namespace {

struct NamePair {
  std::string_view gguf;
  std::string_view hugging_face;
};

// Inside layer N: "blk.N." + gguf = "model.layers.N." + hugging_face.
constexpr std::array kLayerNames = {
    NamePair{"attn_norm.weight", "input_layernorm.weight"},
    NamePair{"attn_q.weight", "self_attn.q_proj.weight"},
    NamePair{"attn_k.weight", "self_attn.k_proj.weight"},
    NamePair{"attn_v.weight", "self_attn.v_proj.weight"},
    NamePair{"attn_output.weight", "self_attn.o_proj.weight"},
    NamePair{"ffn_norm.weight", "post_attention_layernorm.weight"},
    NamePair{"ffn_gate.weight", "mlp.gate_proj.weight"},
    NamePair{"ffn_up.weight", "mlp.up_proj.weight"},
    NamePair{"ffn_down.weight", "mlp.down_proj.weight"},
};
constexpr std::array kOuterNames = {
    NamePair{"token_embd.weight", "model.embed_tokens.weight"},
    NamePair{"output_norm.weight", "model.norm.weight"},
    NamePair{"output.weight", "lm_head.weight"},
};

}  // namespace

std::string hugging_face_name(const std::string& gguf_name) {
  for (const NamePair& pair : kOuterNames)
    if (pair.gguf == gguf_name) return std::string(pair.hugging_face);
  constexpr std::string_view kPrefix = "blk.";
  const size_t dot = gguf_name.find('.', kPrefix.size());
  if (!gguf_name.starts_with(kPrefix) || dot == std::string::npos) return "";
  for (const NamePair& pair : kLayerNames)
    if (pair.gguf == std::string_view(gguf_name).substr(dot + 1))
      return "model.layers." + gguf_name.substr(kPrefix.size(), dot - kPrefix.size()) + "." +
             std::string(pair.hugging_face);
  return "";
}

std::string read_text(const std::filesystem::path& path, int64_t most) {
  std::error_code error;
  LK_REQUIRE(std::filesystem::exists(path, error), kNotFound, "[file] {}: not found", path.string());
  LK_REQUIRE(std::filesystem::is_regular_file(path, error), kCorruptFile, "[file] {}: not a file", path.string());
  const auto size = static_cast<int64_t>(std::filesystem::file_size(path, error));
  LK_REQUIRE(!error && size <= most, kCorruptFile, "[file] {}: size={} bytes, must be <= {}", path.string(), size,
             most);
  std::ifstream stream(path, std::ios::binary);
  std::ostringstream text;
  text << stream.rdbuf();
  LK_REQUIRE(stream.good(), kNotFound, "[file] {}: cannot be read", path.string());
  return std::move(text).str();
}

Checkpoint Checkpoint::open(const std::filesystem::path& path) {
  Checkpoint checkpoint;
  checkpoint.path_ = path.string();
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) {
    const auto config = path / "config.json";
    checkpoint.config_ = parse_llama_config(read_text(config, kMaxConfigBytes), config.string());
    checkpoint.safetensors_ = Safetensors::open(path);
  } else {
    checkpoint.gguf_ = Gguf::open(path);
    checkpoint.config_ = llama_config(*checkpoint.gguf_);
  }
  return checkpoint;
}

const View* Checkpoint::find(const std::string& name) const {
  return gguf_ ? gguf_->find(name) : safetensors_->find(hugging_face_name(name));
}

View Checkpoint::require(const std::string& name, std::initializer_list<int64_t> shape) const {
  return checked_weights(find(name), path_, gguf_ ? name : hugging_face_name(name), shape);
}

View checked_weights(const View* found, const std::string& path, const std::string& name,
                     std::initializer_list<int64_t> shape) {
  LK_REQUIRE(found != nullptr, kNotFound, "[model] {}: tensor {} is missing", path, name);
  LK_REQUIRE(found->dtype != DType::kI32 && found->dtype != DType::kI8, kUnsupported,
             "[model] {}: tensor {} is {}, must be of floats or quantised", path, name, found->describe());
  const View wanted(nullptr, found->dtype, shape);
  LK_REQUIRE(found->rank == wanted.rank && found->shape == wanted.shape, kCorruptFile,
             "[model] {}: tensor {} is {}, must be {}", path, name, found->describe(), wanted.describe());
  return *found;
}

void Checkpoint::check_unchanged() const {
  if (gguf_) gguf_->check_unchanged();
  if (safetensors_) safetensors_->check_unchanged();
}

}  // namespace lowkey
