// Writers of the kQ*_K blocks of base/dtype.h: 256 elements each. The format says how blocks are read; which codes to
// write is a search for the least squared error, weighed by the elements' own size.
#pragma once

#include <cstdint>

namespace lowkey::ref {

void quantize_q2_k(const float* x, uint8_t* block) noexcept;
void quantize_q3_k(const float* x, uint8_t* block) noexcept;
void quantize_q4_k(const float* x, uint8_t* block) noexcept;
void quantize_q5_k(const float* x, uint8_t* block) noexcept;
void quantize_q6_k(const float* x, uint8_t* block) noexcept;

}  // namespace lowkey::ref
