// bench_reading: how long one layer takes to read a text: an encoder at once, a decoder its prompt in steps; by several
// methods side by side, in turn. Inputs and weights are noise; the inputs' directions differ in length, as a model's
// do.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "attention/spec.h"
#include "base/context.h"
#include "base/dtype.h"

namespace lowkey {

struct BenchReadingOptions {
  int heads = 12, kv_heads = 12, head_dim = 64;  // H, KH, D; C = H D
  int64_t ffn = 3072;                            // F
  bool encoder = true;                           // else a decoder: causal, RoPE, SwiGLU, as Llama has them
  DType weights = DType::kF32, kv_type = DType::kF32;
  std::vector<int64_t> lengths = {512, 1024, 2048, 4096, 8192};  // L
  int64_t step = 512;                                            // tokens of a prompt's step; encoders read all at once
  int repetitions = 3;                                           // >= 1; the median counts
};

struct BenchReadingResult {
  std::string attention;
  int64_t length = 0;  // L
  // Of one layer and the whole text: medians. A method may have its factorisation in `project` or in `attend`; what it
  // keeps of the inputs is in `project`.
  double project = 0, append = 0, attend = 0;  // seconds
  double rest = 0;  // output product, feed forward, norms: the same for all methods, from one step of `step` tokens
  std::vector<double> attention_seconds;  // [repetitions] append + attend
  // What is no product of the inputs and weights; the figure that forms which factorise in `attend` are compared by.
  double attention_part() const { return append + attend; }
  double layer() const { return project + append + attend + rest; }
};

// For each length the methods in their order, timed in turn after an untimed round. after_run
// may throw to end it. Throws kInvalidArgument, kOutOfMemory.
std::vector<BenchReadingResult> bench_reading(const Context&, const BenchReadingOptions&,
                                              const std::vector<std::string>& attention,
                                              const std::function<void(int done, int total)>& after_run);

// How y grows with x, by least squares: of y ~ a x^exponent in logarithms, and of y ~ a + b x, r2 being the share of
// the variance that this line explains. Throws kInvalidArgument with fewer than two points.
struct Growth {
  double exponent = 0, r2 = 0;
};
Growth growth(const std::vector<double>& x, const std::vector<double>& y);

}  // namespace lowkey
