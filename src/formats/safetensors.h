// safetensors: read one file, or the shards that a model.safetensors.index.json names. Types F32, F16, BF16,
// F8_E4M3 (and I32, I8 for side data); tensors of I64, counters that some models keep (position_ids), are checked and
// left out. Every length, offset, shape and type is checked before use; no shard may lie outside the folder. A scalar
// is read as [1].
#pragma once

#include <filesystem>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/arena.h"
#include "base/view.h"
#include "formats/mapped_file.h"

namespace lowkey {

class Safetensors {
 public:
  // A .safetensors file, or a folder that holds model.safetensors or model.safetensors.index.json.
  // Throws kNotFound, kCorruptFile, kUnsupported.
  static Safetensors open(const std::filesystem::path&, FilePlace = FilePlace::kMapped);
  // One file's bytes in memory, which must outlive the result; `name` stands for the file in errors.
  static Safetensors parse(std::span<const std::byte> bytes, const std::string& name);

  const std::string& path() const noexcept { return path_; }
  const View* find(std::string_view tensor) const;  // null when absent
  // Views point into the mapped files. F8_E4M3 is bf16 here, in memory of its own, times NAME_scale or NAME_scale_inv.
  // One that lies there askew (f32 at an odd byte, in files whose writer did not pad the header) points into a copy
  // instead, so that every view is aligned to its elements.
  const std::map<std::string, View, std::less<>>& tensors() const noexcept { return tensors_; }
  const std::map<std::string, std::string, std::less<>>& metadata() const noexcept { return metadata_; }
  void check_unchanged() const;

 private:
  Safetensors() = default;
  void add_file(const std::filesystem::path&, FilePlace);
  void add_shards(const std::filesystem::path& index, FilePlace);
  void add_bytes(std::span<const std::byte> bytes, const std::string& name);
  void widen_f8_tensors();

  std::string path_;
  std::vector<MappedFile> files_;
  std::vector<HugeBuffer> copies_;
  std::map<std::string, View, std::less<>> tensors_;
  std::map<std::string, std::string, std::less<>> metadata_;
  std::set<std::string, std::less<>> f8_;  // of tensors_, until they are widened
  std::set<std::string, std::less<>> left_out_;
};

}  // namespace lowkey
