// The bytes of small GGUF and safetensors files, every field of which can be set to something wrong.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace lowkey {

template <typename T>
std::string raw(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}
inline std::string raw_text(const std::string& text) { return raw(uint64_t{text.size()}) + text; }

inline std::span<const std::byte> as_bytes(const std::string& bytes) { return std::as_bytes(std::span(bytes)); }

// Value types of GGUF, by number.
enum : uint32_t {
  kRawUint8,
  kRawInt8,
  kRawUint32 = 4,
  kRawInt32,
  kRawFloat,
  kRawBool,
  kRawString,
  kRawArray,
  kRawUint64
};

// One metadata pair.
inline std::string raw_pair(const std::string& key, uint32_t type, const std::string& value) {
  return raw_text(key) + raw(type) + value;
}
inline std::string raw_array(uint32_t type, uint64_t count, const std::string& values) {
  return raw(type) + raw(count) + values;
}

// One tensor info; dims as in the file, the fastest first.
struct RawInfo {
  std::string name;
  std::vector<uint64_t> dims;
  uint32_t type;
  uint64_t offset;
  int64_t rank = -1;  // what the file claims; -1: the truth

  std::string bytes() const {
    std::string out = raw_text(name) + raw(static_cast<uint32_t>(rank < 0 ? dims.size() : rank));
    for (uint64_t dim : dims) out += raw(dim);
    return out + raw(type) + raw(offset);
  }
};

// A valid file of two tensors and three pairs, until something is changed.
struct RawGguf {
  std::string magic = "GGUF";
  uint32_t version = 3;
  std::vector<std::string> pairs = {
      raw_pair("general.architecture", kRawString, raw_text("llama")),
      raw_pair("general.alignment", kRawUint32, raw(uint32_t{32})),
      raw_pair("list", kRawArray, raw_array(kRawString, 2, raw_text("a") + raw_text("bc"))),
  };
  std::vector<RawInfo> infos = {{"first", {32}, 0, 0}, {"second", {64, 2}, 8, 128}};
  std::string data = std::string(128 + 136, '\1');
  uint64_t tensor_count = 2;
  uint64_t pair_count = 3;
  uint64_t alignment = 32;

  std::string bytes() const {
    std::string out = magic + raw(version) + raw(tensor_count) + raw(pair_count);
    for (const std::string& pair : pairs) out += pair;
    for (const RawInfo& info : infos) out += info.bytes();
    out.resize((out.size() + alignment - 1) / alignment * alignment);
    return out + data;
  }
};

inline std::string raw_safetensors(const std::string& header, const std::string& data) {
  return raw_text(header) + data;
}

// A valid header for 12 + 4 = 16 bytes of data.
inline constexpr const char* kRawHeader =
    R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]},)"
    R"("b":{"dtype":"BF16","shape":[1,2],"data_offsets":[12,16]}})";

}  // namespace lowkey
