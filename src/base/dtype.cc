#include "base/dtype.h"

namespace lowkey {
namespace {

struct Traits {
  std::string_view name;
  int elements;
  int bytes;
};

// In the order of DType.
constexpr Traits kTraits[] = {
    {"f32", 1, 4},
    {"f16", 1, 2},
    {"bf16", 1, 2},
    {"q8_0", kQuantBlock, 34},
    {"q4_0", kQuantBlock, 18},
    {"i32", 1, 4},
    {"i8", 1, 1},
    {"q6_k", kSuperBlock, 210},
    {"q4_1", kQuantBlock, 20},
    {"q5_0", kQuantBlock, 22},
    {"q5_1", kQuantBlock, 24},
    {"q2_k", kSuperBlock, 84},
    {"q3_k", kSuperBlock, 110},
    {"q4_k", kSuperBlock, 144},
    {"q5_k", kSuperBlock, 176},
    {"i8i4", 1, 1},
};

constexpr const Traits& traits(DType t) { return kTraits[static_cast<int>(t)]; }

}  // namespace

int block_elements(DType t) noexcept { return traits(t).elements; }
int block_bytes(DType t) noexcept { return traits(t).bytes; }
int64_t row_bytes(DType t, int64_t n) noexcept { return n / traits(t).elements * traits(t).bytes; }
bool is_quantised(DType t) noexcept { return traits(t).elements > 1; }
bool is_weight(DType t) noexcept { return t != DType::kI32 && t != DType::kI8 && t != DType::kI8I4; }
std::string_view name(DType t) noexcept { return traits(t).name; }

}  // namespace lowkey
