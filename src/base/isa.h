// Isa: which instruction set the kernels may use. Detected once; can be lowered (never raised) to test
// or to compare. Highway's dispatch is process-wide, hence so is this limit: set it
// before the first operation.
#pragma once

#include <string_view>

namespace lowkey {

enum class Isa { kBaseline, kAvx2, kAvx512, kAmx };

// The best this processor and operating system offer.
Isa detected_isa() noexcept;
// The best the kernels may use now: detected, or lower after limit_isa.
Isa active_isa() noexcept;
// Throws kUnsupported when isa is above detected_isa().
void limit_isa(Isa isa);
// "baseline", "avx2", "avx512", "amx"
std::string_view name(Isa) noexcept;
// Throws kInvalidArgument, naming the allowed words.
Isa parse_isa(std::string_view word);

}  // namespace lowkey
