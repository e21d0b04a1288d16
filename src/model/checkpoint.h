// Checkpoint: the tensors of a model under the names of GGUF and in its form, wherever they lie: a GGUF file or the
// safetensors of a Hugging Face folder. Those of a folder that are kept in another form there (transposed, say) are
// copied into memory once; all others stay in the file.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "formats/gguf.h"
#include "formats/safetensors.h"
#include "model/config.h"
#include "model/family.h"

namespace lowkey {

class Checkpoint {
 public:
  // Throws kNotFound, kCorruptFile, kUnsupported.
  static Checkpoint open(const std::filesystem::path&, FilePlace = FilePlace::kMapped);

  const std::string& path() const noexcept { return path_; }
  const ModelConfig& config() const noexcept { return config_; }
  const Gguf* gguf() const noexcept { return gguf_ ? &*gguf_ : nullptr; }

  // Null when absent. `name` as in GGUF: "blk.3.attn_q.weight".
  const View* find(const std::string& name) const;
  // What makes up the tensor: itself, or the matrices of its experts one after another. Throws kNotFound when absent,
  // kCorruptFile when the shape is another, kUnsupported when it holds integers.
  std::vector<View> require(const TensorSpec&) const;
  void check_unchanged() const;

 private:
  struct Copy {
    std::vector<std::byte> bytes;
    View view;
  };

  const View* find_in_folder(const std::string& hugging_face_name) const;
  View read_tensor(const std::string& name, std::span<const int64_t> shape, int expert) const;
  void read_divisors();
  void copy_changed();

  std::string path_;
  ModelConfig config_;
  std::optional<Gguf> gguf_;
  std::optional<Safetensors> safetensors_;
  std::map<std::string, Copy> copies_;  // by their GGUF names
};

// The tensor called `name` of the model at `path`, as weights of this shape. Throws kNotFound when it is null,
// kCorruptFile when the shape is another, kUnsupported when it holds integers.
View checked_weights(const View* found, const std::string& path, const std::string& name,
                     std::span<const int64_t> shape);

inline View checked_weights(const View* found, const std::string& path, const std::string& name,
                            std::initializer_list<int64_t> shape) {
  return checked_weights(found, path, name, std::span(shape.begin(), shape.size()));
}

// A vector of the model at `path` in f32. Throws kUnsupported when it is quantised.
std::vector<float> floats(const View&, const std::string& path, const std::string& name);

// What a config.json may have at most.
inline constexpr int64_t kMaxConfigBytes = int64_t{16} << 20;

// A whole text file. Throws kNotFound, kCorruptFile when it is larger than `most` bytes.
std::string read_text(const std::filesystem::path&, int64_t most);

}  // namespace lowkey
