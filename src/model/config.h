// LlamaConfig: the hyperparameters of a Llama-family model, from a Hugging Face config.json or from GGUF
// metadata, every one checked before it is used.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "formats/gguf.h"
#include "ops/rope.h"

namespace lowkey {

enum class RopeScaling : uint8_t { kNone, kLinear, kLlama3 };

struct LlamaConfig {
  int layers = 0;
  int width = 0;     // C
  int heads = 0;     // H
  int kv_heads = 0;  // KH
  int head_dim = 0;  // D
  int ffn = 0;       // F, inner width of the feed-forward part
  int vocabulary = 0;
  int64_t context = 0;  // positions the model was trained for
  float norm_epsilon = 0;
  double rope_base = 0;
  RopeLayout rope_layout = RopeLayout::kHalf;
  RopeScaling rope_scaling = RopeScaling::kNone;
  double rope_factor = 1;  // kLinear: positions are divided by it; kLlama3: low frequencies are
  double rope_low = 1, rope_high = 4;
  int64_t rope_original_context = 0;
  bool tied = false;  // the output layer is the embedding table
};

// Throw kCorruptFile (out of range, missing), kUnsupported (another architecture, biases, another scaling);
// `source` names the file in messages.
LlamaConfig parse_llama_config(std::string_view config_json, const std::string& source);
LlamaConfig llama_config(const Gguf&);

// [D / 2] inverse frequencies with the scaling applied; factors, if any, divide them ([D / 2] of rope_freqs.weight).
std::vector<float> inverse_frequencies(const LlamaConfig&, const float* factors);

// Throws kCorruptFile unless every field is in range and they agree with one another.
void check(const LlamaConfig&, const std::string& source);

}  // namespace lowkey
