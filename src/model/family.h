// Family: what tells one family of decoders from another: its names in both formats, and which parts it is built of. A
// family is a table and a function in families/; the forward pass, which they all share, is that of decoder.h.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/config.h"

namespace lowkey {

class Hyperparameters;

// What a tensor of a Hugging Face folder takes to be that of GGUF.
enum class TensorChange : uint8_t {
  kNone,
  kTranspose,   // [inputs, outputs]
  kHeadsApart,  // rows of q, k and v of a head side by side, [H, 3, D]: become [3, H, D]
  kPlusOne,     // a norm whose gain is 1 + w
};

// Inside layer N "blk.N." + gguf is LAYERS + "N." + hugging_face. "{}" in it stands for the number of an expert.
struct TensorName {
  std::string_view gguf;
  std::string_view hugging_face;
  TensorChange change = TensorChange::kNone;
};

// What config.json calls otherwise than most do.
struct Alias {
  const char* usual;
  const char* own;
};

struct Family {
  std::string_view model_type;                // of config.json
  std::string_view architecture;              // general.architecture of GGUF
  std::string_view layers = "model.layers.";  // in front of the names of a layer's tensors
  std::span<const TensorName> outer = {};     // names, before those that most families share
  std::span<const TensorName> inner = {};     // of a layer
  std::string_view optional_prefix = {};      // of all names in some folders, not in others
  std::span<const Alias> aliases = {};
  RopeLayout gguf_layout = RopeLayout::kHalf;  // of q and k in GGUF; in folders it is kHalf
  // Sets the form, and whatever only this family has. The shape has been read; c.rope and c.norm_epsilon will be.
  void (*configure)(const Hyperparameters&, ModelConfig&);
};

extern const Family kLlama, kMistral, kMixtral, kQwen2, kQwen3, kQwen3Moe, kPhi3, kGptNeox, kGpt2, kGemma2, kGemma3;

// Throw kUnsupported, with all known ones, when there is none.
const Family& family_of_model_type(const std::string& model_type, const std::string& source);
const Family& family_of_architecture(const std::string& architecture, const std::string& source);

// "blk.3.attn_q.weight" -> {.., "model.layers.3.self_attn.q_proj.weight", ..}, with the number of an expert if any; ""
// for a name that has no counterpart.
struct HuggingFaceTensor {
  std::string name;
  TensorChange change = TensorChange::kNone;
};
HuggingFaceTensor hugging_face_tensor(const Family&, const std::string& gguf_name, int expert = 0);

// A tensor that a model must have. Names and shapes as in GGUF, in C order.
struct TensorSpec {
  std::string name;
  std::vector<int64_t> shape;  // [N] of floats, [N, K] of weights, [E, N, K] of experts
  int rotated_heads = 0;       // heads whose rows turn with RoPE; 0: it is no such matrix
  bool makes_logits = false;
};
std::vector<TensorSpec> tensors_of(const ModelConfig&);

}  // namespace lowkey
