// safetensors: read one file, or the shards that a model.safetensors.index.json names. Types F32, F16, BF16
// (and I32, I8 for side data). Every length, offset, shape and type is checked before use; no shard may lie outside the folder.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/view.h"
#include "formats/mapped_file.h"

namespace lowkey {

class Safetensors {
 public:
  // A .safetensors file, or a folder that holds model.safetensors or model.safetensors.index.json.
  // Throws kNotFound, kCorruptFile, kUnsupported.
  static Safetensors open(const std::filesystem::path&);

  const View* find(std::string_view tensor) const;  // null when absent
  const std::map<std::string, View, std::less<>>& tensors() const noexcept { return tensors_; }
  const std::map<std::string, std::string, std::less<>>& metadata() const noexcept { return metadata_; }
  void check_unchanged() const;

 private:
  void add_file(const std::filesystem::path&);

  std::vector<MappedFile> files_;
  std::map<std::string, View, std::less<>> tensors_;
  std::map<std::string, std::string, std::less<>> metadata_;
};

}  // namespace lowkey
