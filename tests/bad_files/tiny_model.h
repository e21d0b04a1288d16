// The smallest sound model: one layer, 32 wide, a token for every byte and two special ones, all weights 0. As a
// Hugging Face folder and as GGUF, and both with parts that can be spoiled.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "formats/test_folder.h"
#include "model/config.h"
#include "text/tokenizer.h"

namespace lowkey {

inline constexpr int kTinyVocabulary = 258;

std::string tiny_config_json();
std::string tiny_tokenizer_json();
inline constexpr const char* kTinyTokenizerConfig =
    R"({"bos_token": "<|begin|>", "eos_token": "<|end|>", "add_bos_token": true})";

// Tensor shapes by their GGUF names.
std::map<std::string, std::vector<int64_t>> tiny_shapes();
void write_tiny_folder(const TestFolder&, const std::string& name);

struct TinyModel {
  ModelConfig config;
  TokenizerSpec tokenizer;
  std::map<std::string, std::vector<int64_t>> shapes = tiny_shapes();
  std::map<std::string, DType> types;  // f32 unless said

  TinyModel();
  void write_gguf(const std::filesystem::path&) const;
};

}  // namespace lowkey
