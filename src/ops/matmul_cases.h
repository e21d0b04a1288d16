// The cases of matmul, shared by its test and its bench.
#pragma once

#include <cstdint>

#include "base/dtype.h"

namespace lowkey {

struct MatmulCase {
  int64_t rows, depth, outputs;  // T, K, N
};

inline constexpr DType kWeightTypes[] = {DType::kF32,  DType::kF16,  DType::kBF16, DType::kQ8_0, DType::kQ4_0,
                                         DType::kQ4_1, DType::kQ5_0, DType::kQ5_1, DType::kQ2_K, DType::kQ3_K,
                                         DType::kQ4_K, DType::kQ5_K, DType::kQ6_K};

// Small and odd: tails of every loop, both sides of the switch from GEMV to GEMM. K that a type's blocks do not
// divide is skipped for that type.
inline constexpr MatmulCase kMatmulTestCases[] = {
    {1, 1, 1},      {2, 1, 3},     {1, 48, 7},     {3, 48, 17},    {5, 17, 33},   {1, 32, 1},
    {1, 64, 9},     {2, 96, 5},    {3, 256, 6},    {4, 512, 64},   {5, 256, 3},   {6, 32, 1},
    {7, 288, 31},   {8, 768, 129}, {13, 1056, 16}, {17, 256, 47},  {64, 512, 96}, {64, 544, 33},
    {130, 512, 65}, {33, 2080, 8}, {130, 65, 130}, {12, 4096, 40},
};

// The layers of a model of the Llama-3.2-1B shape, per prompt chunk or decoded token.
inline constexpr MatmulCase kMatmulLayers[] = {
    {0, 2048, 2048},   // q, o
    {0, 2048, 512},    // k, v
    {0, 2048, 8192},   // gate, up
    {0, 8192, 2048},   // down
    {0, 2048, 32000},  // output
};

}  // namespace lowkey
