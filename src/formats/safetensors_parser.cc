#include "formats/safetensors_parser.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "base/error.h"
#include "base/json.h"
#include "base/printable.h"
#include "formats/byte_reader.h"

namespace lowkey {
namespace {

using nlohmann::json;

constexpr uint64_t kMaxHeader = 100'000'000;  // bytes, the limit of the format's own library
constexpr int kMaxHeaderDepth = 8;            // a valid one has 3
constexpr size_t kMaxTensors = 65536;
constexpr size_t kMaxShards = 1024;
constexpr std::string_view kSupported = "F32, F16, BF16, F8_E4M3, I32, I8";
constexpr std::string_view kLeftOut = "I64";
constexpr std::string_view kF8 = "F8_E4M3";
constexpr uint64_t kLeftOutBytes = 8;

std::optional<DType> dtype_of(std::string_view word) {
  if (word == "F32") return DType::kF32;
  if (word == "F16") return DType::kF16;
  if (word == "BF16") return DType::kBF16;
  if (word == "I32") return DType::kI32;
  if (word == "I8" || word == kF8) return DType::kI8;
  return std::nullopt;
}

// Where a tensor's bytes lie, from the start of the tensor data.
struct Range {
  uint64_t begin, end;
  std::string name;
};

class Header {
 public:
  Header(std::span<const std::byte> bytes, const std::string& name)
      : reader_(bytes, "[safetensors] " + printable(name, 300)), place_(reader_.place()) {
    const auto length = reader_.number<uint64_t>("header length");
    LK_REQUIRE(length >= 2 && length <= kMaxHeader, kCorruptFile, "{}: header length = {}, must be 2 to {}", place_,
               length, kMaxHeader);
    LK_REQUIRE(length <= reader_.remaining(), kCorruptFile,
               "{}: header length = {}, must be <= {}, the bytes that remain", place_, length, reader_.remaining());
    const auto* start = reinterpret_cast<const char*>(bytes.data()) + sizeof length;
    LK_REQUIRE(*start == '{', kCorruptFile, "{}: header starts with '{}', must be '{{'", place_, printable({start, 1}));
    header_ = parse_json({start, static_cast<size_t>(length)}, place_ + ": header", kMaxHeaderDepth);
    data_ = bytes.subspan(sizeof length + length);
  }

  SafetensorsContent content() {
    SafetensorsContent content;
    LK_REQUIRE(header_.size() <= kMaxTensors, kCorruptFile, "{}: header entries = {}, must be <= {}", place_,
               header_.size(), kMaxTensors);
    for (const auto& [name, entry] : header_.items()) {
      if (name == "__metadata__") {
        read_metadata(entry, content);
      } else if (const auto view = read_tensor(name, entry)) {
        content.tensors.emplace(name, *view);
        if (entry["dtype"] == kF8) content.f8.insert(name);
      } else {
        content.left_out.insert(name);
      }
    }
    check_ranges();
    return content;
  }

 private:
  void read_metadata(const json& entry, SafetensorsContent& content) const {
    LK_REQUIRE(entry.is_object(), kCorruptFile, "{}: __metadata__ is {}, must be an object", place_, entry.type_name());
    for (const auto& [key, value] : entry.items()) {
      LK_REQUIRE(value.is_string(), kCorruptFile, "{}: __metadata__ '{}' is {}, must be a string", place_,
                 printable(key), value.type_name());
      content.metadata.emplace(key, value.get<std::string>());
    }
  }

  // None when it is checked and left out.
  std::optional<View> read_tensor(const std::string& name, const json& entry) {
    const std::string field = place_ + ": tensor '" + printable(name) + "'";
    for (const char* part : {"dtype", "shape", "data_offsets"})
      LK_REQUIRE(entry.is_object() && entry.contains(part), kCorruptFile,
                 "{} has no '{}', must have dtype, shape and data_offsets", field, part);
    View view;
    const auto dtype = read_dtype(entry["dtype"], field);
    if (dtype) view.dtype = *dtype;
    const uint64_t elements = read_shape(entry["shape"], view, field);
    const json& offsets = entry["data_offsets"];
    LK_REQUIRE(
        offsets.is_array() && offsets.size() == 2 && offsets[0].is_number_unsigned() && offsets[1].is_number_unsigned(),
        kCorruptFile, "{} data_offsets = {}, must be two whole numbers >= 0", field, shown(offsets));
    const auto begin = offsets[0].get<uint64_t>(), end = offsets[1].get<uint64_t>();
    LK_REQUIRE(begin <= end && end <= data_.size(), kCorruptFile,
               "{} data_offsets = [{}, {}], must rise and be <= {}, the bytes of tensor data", field, begin, end,
               data_.size());
    const uint64_t bytes = elements * (dtype ? static_cast<uint64_t>(block_bytes(*dtype)) : kLeftOutBytes);
    LK_REQUIRE(end - begin == bytes, kCorruptFile, "{} data_offsets span {} bytes, must be {} for {}", field,
               end - begin, bytes, dtype ? view.describe() : fmt::format("{} of {}", elements, kLeftOut));
    view.data = const_cast<std::byte*>(data_.data() + begin);
    ranges_.push_back({begin, end, name});
    return dtype ? std::optional(view) : std::nullopt;
  }

  // None for kLeftOut.
  std::optional<DType> read_dtype(const json& entry, const std::string& field) const {
    LK_REQUIRE(entry.is_string(), kCorruptFile, "{} dtype is {}, must be a string", field, entry.type_name());
    const auto& word = entry.get_ref<const std::string&>();
    const auto dtype = dtype_of(word);
    LK_REQUIRE(dtype || word == kLeftOut, kUnsupported, "{} dtype = '{}', must be one of {}", field, printable(word),
               kSupported);
    return dtype;
  }

  // Fills view.shape and returns the number of elements: at most the bytes of tensor data, so no product overflows.
  uint64_t read_shape(const json& entry, View& view, const std::string& field) const {
    LK_REQUIRE(entry.is_array(), kCorruptFile, "{} shape is {}, must be an array", field, entry.type_name());
    LK_REQUIRE(entry.size() <= View::kMaxRank, kUnsupported, "{} rank = {}, must be <= {}", field, entry.size(),
               View::kMaxRank);
    view.rank = std::max(1, static_cast<int>(entry.size()));
    view.shape[0] = 1;
    uint64_t product = 1;
    for (size_t i = 0; i < entry.size(); ++i) {
      LK_REQUIRE(entry[i].is_number_unsigned(), kCorruptFile, "{} shape[{}] = {}, must be a whole number >= 0", field,
                 i, shown(entry[i]));
      const auto dim = entry[i].get<uint64_t>();
      LK_REQUIRE(dim <= data_.size() / std::max<uint64_t>(product, 1), kCorruptFile,
                 "{} shape[{}] = {}, must be <= {}, what {} bytes of tensor data can hold", field, i, dim,
                 data_.size() / std::max<uint64_t>(product, 1), data_.size());
      product *= dim;
      view.shape[i] = static_cast<int64_t>(dim);
    }
    return product;
  }

  // Tensors cover the data from its first byte to its last, each byte once.
  void check_ranges() {
    std::sort(ranges_.begin(), ranges_.end(),
              [](const Range& a, const Range& b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });
    uint64_t end = 0;
    for (const Range& range : ranges_) {
      LK_REQUIRE(range.begin == end, kCorruptFile, "{}: tensor '{}' data_offsets start at {}, {}, must be {}", place_,
                 printable(range.name), range.begin, range.begin < end ? "overlapping another" : "leaving a hole", end);
      end = range.end;
    }
    LK_REQUIRE(end == data_.size(), kCorruptFile, "{}: tensor data = {} bytes, must be {}, where the last tensor ends",
               place_, data_.size(), end);
  }

  static std::string shown(const json& value) {
    return value.is_structured() ? std::string(value.type_name()) + " of " + std::to_string(value.size())
                                 : printable(value.dump(-1, ' ', true, json::error_handler_t::replace));
  }

  ByteReader reader_;
  const std::string& place_;
  json header_;
  std::span<const std::byte> data_;
  std::vector<Range> ranges_;
};

}  // namespace

SafetensorsContent parse_safetensors(std::span<const std::byte> bytes, const std::string& name) {
  return Header(bytes, name).content();
}

std::map<std::string, std::string> parse_safetensors_index(std::string_view text, const std::string& name) {
  const std::string place = "[safetensors] " + printable(name, 300);
  const json index = parse_json(text, place);
  LK_REQUIRE(index.is_object() && index.contains("weight_map") && index["weight_map"].is_object(), kCorruptFile,
             "{}: has no object 'weight_map'", place);
  std::map<std::string, std::string> shards;
  std::set<std::string> files;
  for (const auto& [tensor, file] : index["weight_map"].items()) {
    LK_REQUIRE(file.is_string(), kCorruptFile, "{}: weight_map '{}' is {}, must be a string", place, printable(tensor),
               file.type_name());
    const auto& shard = file.get_ref<const std::string&>();
    LK_REQUIRE(
        shard.find_first_of(std::string_view("/\\\0", 3)) == std::string::npos && shard.ends_with(".safetensors"),
        kCorruptFile, "{}: weight_map '{}' = '{}', must be the name of a .safetensors file in the same folder", place,
        printable(tensor), printable(shard));
    shards.emplace(tensor, shard);
    files.insert(shard);
  }
  LK_REQUIRE(!files.empty() && files.size() <= kMaxShards, kCorruptFile, "{}: shards = {}, must be 1 to {}", place,
             files.size(), kMaxShards);
  return shards;
}

}  // namespace lowkey
