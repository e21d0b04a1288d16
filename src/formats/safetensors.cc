#include "formats/safetensors.h"

#include <cstring>
#include <set>

#include "base/error.h"
#include "base/printable.h"
#include "formats/f8_weights.h"
#include "formats/safetensors_parser.h"

namespace lowkey {
namespace {

namespace fs = std::filesystem;

std::string place_of(const fs::path& path) { return "[safetensors] " + printable(path.string(), 300); }

bool is_there(const fs::path& path) {
  std::error_code failed;
  return fs::exists(path, failed);
}

// The folder that files named by this one may lie in once links are followed: its own, or, in a Hugging Face
// download cache (NAME/snapshots/REVISION links to NAME/blobs), the cache folder of the model.
fs::path boundary(const fs::path& folder) {
  const fs::path real = fs::canonical(folder);
  return real.parent_path().filename() == "snapshots" ? real.parent_path().parent_path() : real;
}

bool lies_in(const fs::path& file, const fs::path& folder) {
  const fs::path relative = fs::canonical(file).lexically_relative(folder);
  return !relative.empty() && *relative.begin() != "..";
}

}  // namespace

Safetensors Safetensors::open(const fs::path& path, FilePlace place) {
  Safetensors result;
  result.path_ = path.string();
  std::error_code failed;
  if (!fs::is_directory(path, failed)) {
    result.add_file(path, place);
  } else if (is_there(path / "model.safetensors")) {
    result.add_file(path / "model.safetensors", place);
  } else {
    const fs::path index = path / "model.safetensors.index.json";
    LK_REQUIRE(is_there(index), kNotFound, "{}: has neither model.safetensors nor model.safetensors.index.json",
               place_of(path));
    result.add_shards(index, place);
  }
  result.widen_f8_tensors();
  return result;
}

Safetensors Safetensors::parse(std::span<const std::byte> bytes, const std::string& name) {
  Safetensors result;
  result.path_ = name;
  result.add_bytes(bytes, name);
  result.widen_f8_tensors();
  return result;
}

void Safetensors::add_file(const fs::path& path, FilePlace place) {
  files_.emplace_back(path, place);
  add_bytes(files_.back().bytes(), files_.back().path());
}

void Safetensors::add_shards(const fs::path& index, FilePlace place) {
  const MappedFile file(index);
  const std::string_view text(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  const auto shard_of = parse_safetensors_index(text, file.path());
  const fs::path folder = index.has_parent_path() ? index.parent_path() : ".";
  const fs::path allowed = boundary(folder);
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : shard_of) {
    if (!shards.insert(shard).second) continue;
    LK_REQUIRE(is_there(folder / shard), kNotFound, "{}: weight_map '{}' = '{}', no such file", place_of(index),
               printable(tensor), printable(shard));
    LK_REQUIRE(lies_in(folder / shard, allowed), kCorruptFile,
               "{}: weight_map '{}' = '{}', a link that leads outside the folder", place_of(index), printable(tensor),
               printable(shard));
    add_file(folder / shard, place);
  }
  for (const auto& [tensor, shard] : shard_of)
    LK_REQUIRE(tensors_.contains(tensor) || left_out_.contains(tensor), kCorruptFile,
               "{}: weight_map '{}' = '{}', which does not hold it", place_of(index), printable(tensor),
               printable(shard));
}

void Safetensors::add_bytes(std::span<const std::byte> bytes, const std::string& name) {
  SafetensorsContent content = parse_safetensors(bytes, name);
  for (auto& [tensor, view] : content.tensors) {
    const auto element = static_cast<uintptr_t>(block_bytes(view.dtype));
    if (reinterpret_cast<uintptr_t>(view.data) % element != 0) {
      copies_.emplace_back(static_cast<size_t>(view.bytes()));
      if (view.bytes() > 0) std::memcpy(copies_.back().data(), view.data, static_cast<size_t>(view.bytes()));
      view.data = copies_.back().data();
    }
    LK_REQUIRE(tensors_.emplace(tensor, view).second, kCorruptFile,
               "{}: tensor name = '{}', occurs in another shard too, must be unique", place_of(name),
               printable(tensor));
  }
  metadata_.merge(content.metadata);
  left_out_.merge(content.left_out);
  f8_.merge(content.f8);
}

// Both words for the scales mean what the weights are multiplied by.
void Safetensors::widen_f8_tensors() {
  for (const std::string& name : f8_) {
    const View* scales = find(name + "_scale");
    if (scales == nullptr) scales = find(name + "_scale_inv");
    HugeBuffer memory;
    tensors_.find(name)->second =
        widen_f8(*find(name), scales, place_of(path_) + ": tensor '" + printable(name) + "'", memory);
    copies_.push_back(std::move(memory));
  }
}

const View* Safetensors::find(std::string_view tensor) const {
  const auto found = tensors_.find(tensor);
  return found == tensors_.end() ? nullptr : &found->second;
}

void Safetensors::check_unchanged() const {
  for (const MappedFile& file : files_) file.check_unchanged();
}

}  // namespace lowkey
