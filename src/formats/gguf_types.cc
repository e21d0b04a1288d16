#include "formats/gguf_types.h"

#include <iterator>

namespace lowkey {
namespace {

constexpr int kLeastBytes[kGgufTypes] = {1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8};

// By number; "" for numbers that were never in files or are no longer.
constexpr std::string_view kTensorTypes[] = {
    "F32",   "F16",    "Q4_0",  "Q4_1", "",     "",        "Q5_0",   "Q5_1",    "Q8_0",  "Q8_1",   "Q2_K",
    "Q3_K",  "Q4_K",   "Q5_K",  "Q6_K", "Q8_K", "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S", "IQ4_NL", "IQ3_S",
    "IQ2_S", "IQ4_XS", "I8",    "I16",  "I32",  "I64",     "F64",    "IQ1_M",   "BF16",  "",       "",
    "",      "TQ1_0",  "TQ2_0", "",     "",     "",        "MXFP4",  "NVFP4"};

struct Pair {
  DType dtype;
  uint32_t number;
};
constexpr Pair kPairs[] = {{DType::kF32, 0},   {DType::kF16, 1},   {DType::kQ4_0, 2},  {DType::kQ4_1, 3},
                           {DType::kQ5_0, 6},  {DType::kQ5_1, 7},  {DType::kQ8_0, 8},  {DType::kQ2_K, 10},
                           {DType::kQ3_K, 11}, {DType::kQ4_K, 12}, {DType::kQ5_K, 13}, {DType::kQ6_K, 14},
                           {DType::kI8, 24},   {DType::kI32, 26},  {DType::kBF16, 30}};

}  // namespace

int gguf_least_bytes(GgufType type) noexcept { return kLeastBytes[static_cast<uint32_t>(type)]; }

uint32_t gguf_tensor_type(DType dtype) noexcept {
  for (const Pair& pair : kPairs)
    if (pair.dtype == dtype) return pair.number;
  return UINT32_MAX;
}

std::optional<DType> dtype_of_gguf(uint32_t type) noexcept {
  for (const Pair& pair : kPairs)
    if (pair.number == type) return pair.dtype;
  return std::nullopt;
}

std::string_view gguf_tensor_type_name(uint32_t type) noexcept {
  return type < std::size(kTensorTypes) ? kTensorTypes[type] : "";
}

}  // namespace lowkey
