// What lies in one safetensors file and in the index of a sharded model, checked. A file is: header length
// (64 bits), header (JSON: name -> dtype, shape, data_offsets), tensor data without holes.
#pragma once

#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/view.h"

namespace lowkey {

struct SafetensorsContent {
  std::map<std::string, View, std::less<>> tensors;  // pointing into the bytes parsed, maybe askew
  std::map<std::string, std::string, std::less<>> metadata;
  std::set<std::string, std::less<>> f8;        // of tensors: F8_E4M3, as views of kI8
  std::set<std::string, std::less<>> left_out;  // sound tensors of I64
};

// Throws kCorruptFile, kUnsupported; `name` stands for the file in errors.
SafetensorsContent parse_safetensors(std::span<const std::byte> bytes, const std::string& name);

// weight_map of a model.safetensors.index.json: tensor -> shard, a plain file name in the index's own folder.
std::map<std::string, std::string> parse_safetensors_index(std::string_view json, const std::string& name);

}  // namespace lowkey
