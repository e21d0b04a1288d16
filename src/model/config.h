// ModelConfig: the hyperparameters of a decoder of any family, from a Hugging Face config.json or from GGUF metadata,
// every one checked before it is used; and of which parts its family is built.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "formats/gguf.h"
#include "model/rope_config.h"

namespace lowkey {

struct Family;

enum class NormKind : uint8_t { kRms, kLayer };
enum class Activation : uint8_t { kSilu, kGelu, kGeluTanh };

struct ModelConfig {
  const Family* family = nullptr;
  int layers = 0;
  int width = 0;     // C
  int heads = 0;     // H
  int kv_heads = 0;  // KH
  int head_dim = 0;  // D
  int ffn = 0;       // F, inner width of the feed-forward part
  int vocabulary = 0;
  int64_t context = 0;  // positions the model was trained for, or that its RoPE was stretched to
  float norm_epsilon = 0;
  bool tied = false;  // the output layer is the embedding table
  RopeConfig rope;

  // Form.
  NormKind norm = NormKind::kRms;
  Activation activation = Activation::kSilu;
  bool gated = true;               // down(act(gate) * up), or down(act(up))
  bool parallel = false;           // x + attention(norm(x)) + feed_forward(norm(x)) in one go
  bool learned_positions = false;  // a row of a table is added to the embedding of each token
  bool qkv_bias = false;           // and of others:
  bool output_bias = false, ffn_bias = false;
  bool fused_qkv = false;                  // one matrix holds the rows of q, k and v
  bool fused_gate = false;                 // one matrix holds the rows of gate and up
  bool qk_norm = false;                    // queries and keys are normalised, head by head, before RoPE
  bool post_norms = false;                 // what attention and feed-forward give is normalised too
  int experts = 0, experts_used = 0;       // feed-forward parts of a layer, and those that a token goes through
  int expert_ffn = 0;                      // inner width of an expert; 0: F
  bool routes_sum_to_one = true;           // the weights of a token's experts; or their shares of all experts' sum
  std::vector<bool> plain_layers;          // [L] without experts, though others have them; or empty: none
  std::vector<int64_t> windows;            // [L] tokens that a token reads up to its own, 0: all; or empty: all 0
  float attention_scale = 0;               // of scores; 0: 1 / sqrt(D)
  float attention_cap = 0, logit_cap = 0;  // x becomes cap tanh(x / cap); 0: stays
  float embedding_scale = 1;

  bool mixture(int layer) const noexcept {
    return experts > 0 && (plain_layers.empty() || !plain_layers[static_cast<size_t>(layer)]);
  }
  int64_t window(int layer) const noexcept { return windows.empty() ? 0 : windows[static_cast<size_t>(layer)]; }
};

// Throw kCorruptFile (out of range, missing), kUnsupported (another architecture or scaling); `source` names the file
// in messages.
ModelConfig parse_config(std::string_view config_json, const std::string& source);
ModelConfig read_config(const Gguf&);

// Throws kCorruptFile unless every field is in range and they agree with one another.
void check(const ModelConfig&, const std::string& source);

}  // namespace lowkey
