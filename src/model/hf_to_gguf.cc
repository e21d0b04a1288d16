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
  std::string name;
  View source;
  DType dtype;
  int rotated_heads;  // heads whose rows are reordered for RoPE; 0: none are
};

DType stored_type(DType weights, int64_t row_length) {
  return row_length % block_elements(weights) == 0 ? weights : DType::kF16;
}

class Plan {
 public:
  Plan(const Checkpoint& checkpoint, DType weights) : checkpoint_(checkpoint), weights_(weights) {
    const LlamaConfig& c = checkpoint.config();
    const int64_t width = c.width, queries = int64_t{c.heads} * c.head_dim, keys = int64_t{c.kv_heads} * c.head_dim;
    matrix("token_embd.weight", c.vocabulary, width, 0, c.tied);
    for (int i = 0; i < c.layers; ++i) {
      const std::string layer = fmt::format("blk.{}.", i);
      norm(layer + "attn_norm.weight");
      matrix(layer + "attn_q.weight", queries, width, c.heads);
      matrix(layer + "attn_k.weight", keys, width, c.kv_heads);
      matrix(layer + "attn_v.weight", keys, width);
      matrix(layer + "attn_output.weight", width, queries);
      norm(layer + "ffn_norm.weight");
      matrix(layer + "ffn_gate.weight", c.ffn, width);
      matrix(layer + "ffn_up.weight", c.ffn, width);
      matrix(layer + "ffn_down.weight", width, c.ffn);
    }
    norm("output_norm.weight");
    if (!c.tied) matrix("output.weight", c.vocabulary, width, 0, true);
  }

  const std::vector<PlannedTensor>& tensors() const noexcept { return tensors_; }

 private:
  void norm(const std::string& name) {
    tensors_.push_back({name, checkpoint_.require(name, {checkpoint_.config().width}), DType::kF32, 0});
  }

  void matrix(const std::string& name, int64_t rows, int64_t columns, int rotated_heads = 0,
              bool makes_logits = false) {
    const DType dtype = makes_logits && weights_ == DType::kQ4_0 ? DType::kQ8_0 : weights_;
    tensors_.push_back({name, checkpoint_.require(name, {rows, columns}), stored_type(dtype, columns), rotated_heads});
  }

  const Checkpoint& checkpoint_;
  DType weights_;
  std::vector<PlannedTensor> tensors_;
};

// The row of the Hugging Face tensor that row r of the GGUF one holds.
int64_t source_row(int64_t r, int64_t head_dim) {
  const int64_t d = r % head_dim;
  return r - d + d % 2 * (head_dim / 2) + d / 2;
}

void convert(const Context& context, const PlannedTensor& tensor, std::byte* out) {
  const View& x = tensor.source;
  const int64_t columns = x.columns(), row_size = row_bytes(tensor.dtype, columns);
  const int64_t head_dim = tensor.rotated_heads == 0 ? 0 : x.rows() / tensor.rotated_heads;
  Scratch::Frame frame(context.scratch);
  float* rows = frame.take<float>(columns * context.threads.count());  // [threads, columns]
  context.threads.split(x.rows(), 1, [&](int64_t begin, int64_t end, int thread) {
    float* row = rows + columns * thread;
    for (int64_t r = begin; r < end; ++r) {
      dequantize_row(x.dtype, x.row(head_dim == 0 ? r : source_row(r, head_dim)), row, columns);
      quantize_row(tensor.dtype, row, out + r * row_size, columns);
    }
  });
}

// What llama.cpp divides each frequency by, [D / 2]; empty when the model needs none.
std::vector<float> frequency_factors(const LlamaConfig& config) {
  if (config.rope_scaling != RopeScaling::kLlama3) return {};
  LlamaConfig plain = config;
  plain.rope_scaling = RopeScaling::kNone;
  const auto unscaled = inverse_frequencies(plain, nullptr), scaled = inverse_frequencies(config, nullptr);
  std::vector<float> factors(scaled.size());
  for (size_t i = 0; i < factors.size(); ++i) factors[i] = unscaled[i] / scaled[i];
  return factors;
}

}  // namespace

void hf_to_gguf(const Context& context, const std::filesystem::path& folder, const std::filesystem::path& out,
                DType weights, const std::function<void(int64_t done, int64_t total)>& progress) {
  LK_REQUIRE(weights == DType::kF32 || weights == DType::kF16 || weights == DType::kBF16 || weights == DType::kQ8_0 ||
                 weights == DType::kQ4_0,
             kInvalidArgument, "[convert] type = {}, must be f32, f16, bf16, q8_0 or q4_0", name(weights));
  std::error_code failed;
  LK_REQUIRE(std::filesystem::is_directory(folder, failed), kNotFound, "[convert] {}: is no folder",
             printable(folder.string(), 300));
  const Checkpoint checkpoint = Checkpoint::open(folder);
  const Plan plan(checkpoint, weights);
  const std::vector<float> factors = frequency_factors(checkpoint.config());

  GgufWriter writer(out);
  set_metadata(writer, checkpoint.config(), folder, weights);
  const int64_t factor_count = static_cast<int64_t>(factors.size());
  if (factor_count > 0) writer.announce("rope_freqs.weight", DType::kF32, {&factor_count, 1});
  int64_t total = 0, largest = 0;
  for (const PlannedTensor& tensor : plan.tensors()) {
    const View& x = tensor.source;
    writer.announce(tensor.name, tensor.dtype, {x.shape.data(), static_cast<size_t>(x.rank)});
    total += x.bytes();
    largest = std::max(largest, x.rows() * row_bytes(tensor.dtype, x.columns()));
  }
  if (factor_count > 0) writer.write("rope_freqs.weight", std::as_bytes(std::span(factors)));
  const HugeBuffer buffer(static_cast<size_t>(largest));
  int64_t done = 0;
  for (const PlannedTensor& tensor : plan.tensors()) {
    const View& x = tensor.source;
    checkpoint.check_unchanged();
    convert(context, tensor, buffer.data());
    writer.write(tensor.name, {buffer.data(), static_cast<size_t>(x.rows() * row_bytes(tensor.dtype, x.columns()))});
    done += x.bytes();
    if (progress) progress(done, total);
  }
  writer.finish();
}

}  // namespace lowkey
