// The numbers of the GGUF format that reader and writer share: value types, tensor types, alignment.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/dtype.h"

namespace lowkey {

enum class GgufType : uint32_t {
  kUint8,
  kInt8,
  kUint16,
  kInt16,
  kUint32,
  kInt32,
  kFloat32,
  kBool,
  kString,
  kArray,
  kUint64,
  kInt64,
  kFloat64,
};
inline constexpr uint32_t kGgufTypes = 13;

inline constexpr std::string_view kGgufMagic = "GGUF";
inline constexpr uint32_t kGgufVersion = 3;       // the version written
inline constexpr int64_t kGgufAlignment = 32;     // of tensor data, unless general.alignment says otherwise
inline constexpr size_t kGgufMaxTensorName = 64;  // bytes, the rule of the format

// Least bytes of one value in the file (a string's length, an array's head).
int gguf_least_bytes(GgufType) noexcept;

// The number of a storage type in the file, and back; nothing when it has none or is unknown here.
uint32_t gguf_tensor_type(DType) noexcept;
std::optional<DType> dtype_of_gguf(uint32_t type) noexcept;
// "Q4_K", for types that exist in GGUF, known here or not; "" for others.
std::string_view gguf_tensor_type_name(uint32_t type) noexcept;

}  // namespace lowkey
