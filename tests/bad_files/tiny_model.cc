#include "bad_files/tiny_model.h"

#include <nlohmann/json.hpp>

#include "bad_files/bytes.h"
#include "formats/gguf_writer.h"
#include "model/family.h"
#include "model/gguf_metadata.h"
#include "text/byte_alphabet.h"

namespace lowkey {
namespace {

using nlohmann::json;

View shape_view(DType dtype, const std::vector<int64_t>& dims) {
  View view(nullptr, dtype, {});
  view.rank = static_cast<int>(dims.size());
  std::copy(dims.begin(), dims.end(), view.shape.begin());
  return view;
}

std::string tiny_safetensors() {
  json header;
  int64_t end = 0;
  for (const auto& [name, dims] : tiny_shapes()) {
    const int64_t bytes = shape_view(DType::kF32, dims).bytes();
    header[hugging_face_tensor(kLlama, name).name] = {
        {"dtype", "F32"}, {"shape", dims}, {"data_offsets", {end, end + bytes}}};
    end += bytes;
  }
  return raw_safetensors(header.dump(), std::string(static_cast<size_t>(end), '\0'));
}

}  // namespace

std::map<std::string, std::vector<int64_t>> tiny_shapes() {
  return {{"token_embd.weight", {kTinyVocabulary, 32}},
          {"output_norm.weight", {32}},
          {"blk.0.attn_norm.weight", {32}},
          {"blk.0.attn_q.weight", {32, 32}},
          {"blk.0.attn_k.weight", {16, 32}},
          {"blk.0.attn_v.weight", {16, 32}},
          {"blk.0.attn_output.weight", {32, 32}},
          {"blk.0.ffn_norm.weight", {32}},
          {"blk.0.ffn_gate.weight", {64, 32}},
          {"blk.0.ffn_up.weight", {64, 32}},
          {"blk.0.ffn_down.weight", {32, 64}}};
}

std::string tiny_config_json() {
  return R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 32,
 "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
 "head_dim": 16, "vocab_size": 258, "max_position_embeddings": 128, "rms_norm_eps": 1e-05,
 "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": true})";
}

std::string tiny_tokenizer_json() {
  json vocabulary;
  for (int byte = 0; byte < 256; ++byte) vocabulary[to_byte_alphabet(std::string(1, static_cast<char>(byte)))] = byte;
  const json added = {{{"id", 256}, {"content", "<|begin|>"}, {"special", true}, {"normalized", false}},
                      {{"id", 257}, {"content", "<|end|>"}, {"special", true}, {"normalized", false}}};
  const json bytes = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}};
  return json{{"added_tokens", added},  {"normalizer", nullptr},
              {"pre_tokenizer", bytes}, {"post_processor", nullptr},
              {"decoder", bytes},       {"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", json::array()}}}}
      .dump();
}

void write_tiny_folder(const TestFolder& folder, const std::string& name) {
  folder.write(name + "/config.json", tiny_config_json());
  folder.write(name + "/tokenizer.json", tiny_tokenizer_json());
  folder.write(name + "/tokenizer_config.json", kTinyTokenizerConfig);
  folder.write(name + "/model.safetensors", tiny_safetensors());
}

TinyModel::TinyModel()
    : config(parse_config(tiny_config_json(), "tiny")),
      tokenizer(parse_tokenizer_json(tiny_tokenizer_json(), kTinyTokenizerConfig, "tiny")) {}

void TinyModel::write_gguf(const std::filesystem::path& path) const {
  GgufWriter writer(path);
  writer.set("general.architecture", "llama");
  set_hyperparameters(writer, config);
  set_tokenizer(writer, tokenizer, config.vocabulary);
  std::map<std::string, View> views;
  for (const auto& [name, dims] : shapes) {
    const auto type = types.find(name);
    views[name] = shape_view(type == types.end() ? DType::kF32 : type->second, dims);
    writer.announce(name, views[name].dtype, dims);
  }
  for (const auto& [name, view] : views) writer.write(name, std::vector<std::byte>(static_cast<size_t>(view.bytes())));
  writer.finish();
}

}  // namespace lowkey
