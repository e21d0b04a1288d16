// ModelConfig: the hyperparameters of a decoder of any family, from a Hugging Face config.json or from GGUF metadata,
// every one checked before it is used; and of which parts its family is built.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "formats/gguf.h"
#include "ops/rope.h"

namespace lowkey {

struct Family;

enum class RopeScaling : uint8_t { kNone, kLinear, kLlama3, kLongRope };
enum class NormKind : uint8_t { kRms, kLayer };
enum class Activation : uint8_t { kSilu, kGelu, kGeluTanh };

struct RopeConfig {
  int dims = 0;  // R: coordinates of a head that turn, its first ones; 0: none do
  double base = 10000;
  double window_base = 0;  // in layers with a window, without any scaling; 0: as in the others
  RopeLayout layout = RopeLayout::kHalf;
  RopeScaling scaling = RopeScaling::kNone;
  double factor = 1;  // kLinear: positions are divided by it; kLlama3: low frequencies are
  double low = 1, high = 4;
  int64_t original_context = 0;
  std::vector<float> divisors;        // [R / 2] of the frequencies, or none; kLongRope: for long contexts
  std::vector<float> short_divisors;  // kLongRope: [R / 2], for contexts up to the original one
  float amplitude = 1;                // kLongRope: of the turned coordinates
};

struct ModelConfig {
  const Family* family = nullptr;
  int layers = 0;
  int width = 0;     // C
  int heads = 0;     // H
  int kv_heads = 0;  // KH
  int head_dim = 0;  // D
  int ffn = 0;       // F, inner width of the feed-forward part
  int vocabulary = 0;
  int64_t context = 0;  // positions the model was trained for
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
  std::vector<int64_t> windows;            // [L] tokens that a token reads up to its own, 0: all; or empty: all 0
  float attention_scale = 0;               // of scores; 0: 1 / sqrt(D)
  float attention_cap = 0, logit_cap = 0;  // x becomes cap tanh(x / cap); 0: stays
  float embedding_scale = 1;

  int64_t window(int layer) const noexcept { return windows.empty() ? 0 : windows[static_cast<size_t>(layer)]; }
};

// Throw kCorruptFile (out of range, missing), kUnsupported (another architecture or scaling); `source` names the file
// in messages.
ModelConfig parse_config(std::string_view config_json, const std::string& source);
ModelConfig read_config(const Gguf&);

// Throws kCorruptFile unless every field is in range and they agree with one another.
void check(const ModelConfig&, const std::string& source);

enum class RopeReach : uint8_t { kLong, kShort, kWindow };
// [R / 2] inverse frequencies with the scaling applied; kShort: of contexts up to the original one, under kLongRope;
// kWindow: of layers with a window.
std::vector<float> inverse_frequencies(const RopeConfig&, RopeReach reach = RopeReach::kLong);

}  // namespace lowkey
