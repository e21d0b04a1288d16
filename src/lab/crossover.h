// crossover: from what length on a method is faster than reading everything, on this machine and for this model: a few
// dozen milliseconds of measuring before the first prompt is read.
#pragma once

#include "attention/spec.h"
#include "base/context.h"

namespace lowkey {

// The smallest power of two from 4096 on, at most `longest`, from which a decoding step of one layer is at least 3 %
// faster; 2 * longest when none is. Throws as make_method does, and kOutOfMemory.
int64_t measure_crossover(const Context&, const AttentionSpec&, const MethodInputs&, DType kv_type,
                          int64_t longest = 8192);

// The same spec with min=... as measured, when the method has a minimum that is to be measured (min not given, or
// min=auto).
AttentionSpec with_measured_minimum(const Context&, const AttentionSpec&, const MethodInputs&, DType kv_type);

}  // namespace lowkey
