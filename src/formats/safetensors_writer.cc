#include "formats/safetensors_writer.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/error.h"
#include "base/printable.h"
#include "formats/new_file.h"

namespace lowkey {
namespace {

constexpr size_t kAlignment = 64;

const char* type_name(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "F32";
    case DType::kF16:
      return "F16";
    case DType::kBF16:
      return "BF16";
    case DType::kI32:
      return "I32";
    case DType::kI8:
      return "I8";
    default:
      return nullptr;
  }
}

using Entry = std::pair<const std::string, View>;

std::vector<const Entry*> in_file_order(const SafetensorsContent& content) {
  std::vector<const Entry*> entries;
  for (const Entry& entry : content.tensors) entries.push_back(&entry);
  std::stable_sort(entries.begin(), entries.end(), [](const Entry* a, const Entry* b) {
    return block_bytes(a->second.dtype) > block_bytes(b->second.dtype);
  });
  return entries;
}

std::string header_of(const SafetensorsContent& content, const std::vector<const Entry*>& entries,
                      const std::string& place) {
  nlohmann::json header = nlohmann::json::object();
  if (!content.metadata.empty()) header["__metadata__"] = content.metadata;
  int64_t offset = 0;
  for (const Entry* entry : entries) {
    const auto& [name, view] = *entry;
    const char* type = type_name(view.dtype);
    LK_REQUIRE(type != nullptr && (view.data != nullptr || view.bytes() == 0), kInvalidArgument,
               "{}: tensor '{}' is {}{}, must be f32, f16, bf16, i32 or i8 in memory", place, printable(name),
               view.describe(), view.data == nullptr ? " without data" : "");
    const std::vector<int64_t> shape(view.shape.begin(), view.shape.begin() + view.rank);
    header[name] = {{"dtype", type}, {"shape", shape}, {"data_offsets", {offset, offset + view.bytes()}}};
    offset += view.bytes();
  }
  std::string text = header.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  const size_t end = sizeof(uint64_t) + text.size();
  text.append((kAlignment - end % kAlignment) % kAlignment, ' ');
  return text;
}

}  // namespace

void write_safetensors(const std::filesystem::path& path, const SafetensorsContent& content) {
  NewFile file(path, "safetensors");
  const auto entries = in_file_order(content);
  const std::string header = header_of(content, entries, file.place());
  const uint64_t length = header.size();
  file.write(&length, sizeof length);
  file.write(header.data(), header.size());
  for (const Entry* entry : entries) file.write(entry->second.data, static_cast<size_t>(entry->second.bytes()));
  file.finish();
}

}  // namespace lowkey
