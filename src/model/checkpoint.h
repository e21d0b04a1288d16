// Checkpoint: the tensors of a model under the names of GGUF, wherever they lie: a GGUF file or the
// safetensors of a Hugging Face folder.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "formats/gguf.h"
#include "formats/safetensors.h"
#include "model/config.h"

namespace lowkey {

class Checkpoint {
 public:
  // Throws kNotFound, kCorruptFile, kUnsupported.
  static Checkpoint open(const std::filesystem::path&);

  const std::string& path() const noexcept { return path_; }
  const LlamaConfig& config() const noexcept { return config_; }
  const Gguf* gguf() const noexcept { return gguf_ ? &*gguf_ : nullptr; }

  // Null when absent. `name` as in GGUF: "blk.3.attn_q.weight".
  const View* find(const std::string& name) const;
  // Throws kNotFound when absent, kCorruptFile when the shape is another, kUnsupported when it holds integers.
  View require(const std::string& name, std::initializer_list<int64_t> shape) const;
  void check_unchanged() const;

 private:
  std::string path_;
  LlamaConfig config_;
  std::optional<Gguf> gguf_;
  std::optional<Safetensors> safetensors_;
};

// The tensor called `name` of the model at `path`, as weights of this shape. Throws kNotFound when it is null,
// kCorruptFile when the shape is another, kUnsupported when it holds integers.
View checked_weights(const View* found, const std::string& path, const std::string& name,
                     std::initializer_list<int64_t> shape);

// "blk.3.attn_q.weight" -> "model.layers.3.self_attn.q_proj.weight"; "" for a name that has no counterpart.
std::string hugging_face_name(const std::string& gguf_name);

// What a config.json may have at most.
inline constexpr int64_t kMaxConfigBytes = int64_t{16} << 20;

// A whole text file. Throws kNotFound, kCorruptFile when it is larger than `most` bytes.
std::string read_text(const std::filesystem::path&, int64_t most);

}  // namespace lowkey
