#include "model/hf_to_gguf.h"

#include <algorithm>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/printable.h"
#include "formats/gguf_writer.h"
#include "model/checkpoint.h"
#include "model/gguf_metadata.h"
#include "ops/quantize.h"

namespace lowkey {
namespace {

struct PlannedTensor {
  TensorSpec spec;
  std::vector<View> sources;  // one, or one for each expert
  DType dtype;

  int64_t columns() const { return spec.shape.back(); }
  int64_t bytes() const {
    return static_cast<int64_t>(sources.size()) * sources[0].rows() * row_bytes(dtype, columns());
  }
};

// Of the matrix that makes the logits.
DType logits_type(DType weights) {
  if (!is_quantised(weights) || weights == DType::kQ8_0) return weights;
  return block_elements(weights) == kSuperBlock ? DType::kQ6_K : DType::kQ8_0;
}

// Vectors and what routes to experts stay f32: they are small, and errors in them go far.
DType stored_type(const TensorSpec& spec, DType weights) {
  if (spec.shape.size() == 1 || spec.name.ends_with("ffn_gate_inp.weight")) return DType::kF32;
  for (DType type : {spec.makes_logits ? logits_type(weights) : weights, DType::kQ8_0})
    if (spec.shape.back() % block_elements(type) == 0) return type;
  return DType::kF16;
}

std::vector<PlannedTensor> plan_of(const Checkpoint& checkpoint, DType weights) {
  std::vector<PlannedTensor> plan;
  for (TensorSpec& spec : tensors_of(checkpoint.config())) {
    std::vector<View> sources = checkpoint.require(spec);
    const DType dtype = stored_type(spec, weights);
    plan.push_back({std::move(spec), std::move(sources), dtype});
  }
  return plan;
}

// The row of the Hugging Face tensor that row r of the GGUF one holds.
int64_t source_row(int64_t r, int64_t head_dim) {
  const int64_t d = r % head_dim;
  return r - d + d % 2 * (head_dim / 2) + d / 2;
}

// A vector is a matrix of one column here, so that biases of rotated rows go with them.
void convert(const Context& context, const PlannedTensor& tensor, bool interleaved, std::byte* out) {
  const bool vector = tensor.spec.shape.size() == 1;
  const int64_t columns = vector ? 1 : tensor.columns(), row_size = row_bytes(tensor.dtype, columns);
  const int64_t rows = vector ? tensor.columns() : tensor.sources[0].rows(), heads = tensor.spec.rotated_heads;
  const int64_t head_dim = interleaved && heads > 0 ? rows / heads : 0;
  Scratch::Frame frame(context.scratch);
  float* buffers = frame.take<float>(columns * context.threads.count());  // [threads, columns]
  for (const View& x : tensor.sources) {
    const int64_t source_size = row_bytes(x.dtype, columns);
    const auto* source = static_cast<const std::byte*>(x.data);
    context.threads.split(rows, 1, [&](int64_t begin, int64_t end, int thread) {
      float* row = buffers + columns * thread;
      for (int64_t r = begin; r < end; ++r) {
        dequantize_row(x.dtype, source + (head_dim == 0 ? r : source_row(r, head_dim)) * source_size, row, columns);
        quantize_row(tensor.dtype, row, out + r * row_size, columns);
      }
    });
    out += rows * row_size;
  }
}

// What llama.cpp divides each frequency by, [R / 2], by the name of the tensor.
std::vector<std::pair<std::string, std::vector<float>>> rope_divisors(const RopeConfig& rope) {
  if (rope.scaling == RopeScaling::kLongRope)
    return {{"rope_factors_long.weight", rope.divisors}, {"rope_factors_short.weight", rope.short_divisors}};
  if (rope.scaling != RopeScaling::kLlama3) return {};
  RopeConfig plain = rope;
  plain.scaling = RopeScaling::kNone;
  const auto unscaled = inverse_frequencies(plain), scaled = inverse_frequencies(rope);
  std::vector<float> divisors(scaled.size());
  for (size_t i = 0; i < divisors.size(); ++i) divisors[i] = unscaled[i] / scaled[i];
  return {{"rope_freqs.weight", std::move(divisors)}};
}

}  // namespace

void hf_to_gguf(const Context& context, const std::filesystem::path& folder, const std::filesystem::path& out,
                DType weights, const std::function<void(int64_t done, int64_t total)>& progress) {
  LK_REQUIRE(is_weight(weights), kInvalidArgument, "[convert] type = {}, must be one of weights", name(weights));
  std::error_code failed;
  LK_REQUIRE(std::filesystem::is_directory(folder, failed), kNotFound, "[convert] {}: is no folder",
             printable(folder.string(), 300));
  const Checkpoint checkpoint = Checkpoint::open(folder);
  const ModelConfig& config = checkpoint.config();
  const std::vector<PlannedTensor> plan = plan_of(checkpoint, weights);
  const auto divisors = rope_divisors(config.rope);
  const bool interleaved = config.family->gguf_layout == RopeLayout::kInterleaved;

  GgufWriter writer(out);
  set_metadata(writer, config, folder, weights);
  for (const auto& [name, values] : divisors) {
    const int64_t count = std::ssize(values);
    writer.announce(name, DType::kF32, {&count, 1});
  }
  int64_t total = 0, largest = 0;
  for (const PlannedTensor& tensor : plan) {
    writer.announce(tensor.spec.name, tensor.dtype, tensor.spec.shape);
    for (const View& x : tensor.sources) total += x.bytes();
    largest = std::max(largest, tensor.bytes());
  }
  for (const auto& [name, values] : divisors) writer.write(name, std::as_bytes(std::span(values)));
  const HugeBuffer buffer(static_cast<size_t>(largest));
  int64_t done = 0;
  for (const PlannedTensor& tensor : plan) {
    checkpoint.check_unchanged();
    convert(context, tensor, interleaved, buffer.data());
    writer.write(tensor.spec.name, {buffer.data(), static_cast<size_t>(tensor.bytes())});
    for (const View& x : tensor.sources) done += x.bytes();
    if (progress) progress(done, total);
  }
  writer.finish();
}

}  // namespace lowkey
