#include "model/hf_to_gguf.h"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>

#include "formats/test_folder.h"
#include "model/checkpoint.h"
#include "model/model.h"
#include "model/tokenizer_loader.h"
#include "ops/quantize.h"

namespace lowkey {
namespace {

namespace fs = std::filesystem;

const fs::path kData = fs::path(LOWKEY_SOURCE_DIR) / "tests/data";

std::vector<float> row_of(const View& matrix, int64_t r) {
  std::vector<float> row(static_cast<size_t>(matrix.columns()));
  ref::dequantize_row(matrix.dtype, matrix.row(r), row.data(), matrix.columns());
  return row;
}

class HfToGguf : public testing::TestWithParam<const char*> {
 protected:
  fs::path convert(DType weights) const {
    const fs::path out = folder_ / (std::string(name(weights)) + ".gguf");
    hf_to_gguf(Context(2), kData / GetParam(), out, weights, nullptr);
    return out;
  }

  const TestFolder folder_;
};

TEST_P(HfToGguf, KeepsHyperparametersAndFrequencies) {
  const Checkpoint source = Checkpoint::open(kData / GetParam()), file = Checkpoint::open(convert(DType::kF32));
  const ModelConfig &a = source.config(), &b = file.config();
  EXPECT_EQ(std::tie(a.layers, a.width, a.heads, a.kv_heads, a.head_dim, a.ffn, a.vocabulary, a.context, a.tied),
            std::tie(b.layers, b.width, b.heads, b.kv_heads, b.head_dim, b.ffn, b.vocabulary, b.context, b.tied));
  EXPECT_EQ(a.norm_epsilon, b.norm_epsilon);
  EXPECT_EQ(b.rope.layout, RopeLayout::kInterleaved);
  const auto expected = inverse_frequencies(a.rope), actual = inverse_frequencies(b.rope);
  ASSERT_EQ(expected.size(), actual.size());
  for (size_t i = 0; i < expected.size(); ++i)  // a factor is rounded, and so is the frequency divided by it
    EXPECT_NEAR(actual[i], expected[i], 2 * std::numeric_limits<float>::epsilon() * expected[i]) << i;
}

TEST_P(HfToGguf, TheFingerprintStays) {
  const std::string fingerprint = open_model(kData / GetParam())->fingerprint();
  for (DType type : {DType::kF32, DType::kBF16, DType::kQ8_0})
    EXPECT_EQ(open_model(convert(type))->fingerprint(), fingerprint) << name(type);
}

TEST_P(HfToGguf, PairsOfARotationBecomeNeighbours) {
  const Checkpoint source = Checkpoint::open(kData / GetParam()), file = Checkpoint::open(convert(DType::kF32));
  const ModelConfig& c = source.config();
  for (const auto& [tensor, heads] : {std::pair("blk.1.attn_q.weight", c.heads), {"blk.1.attn_k.weight", c.kv_heads}}) {
    const View from = *source.find(tensor), to = *file.find(tensor);
    for (int h = 0; h < heads; ++h) {
      for (int i = 0; i < c.head_dim / 2; ++i) {
        const int64_t first = int64_t{h} * c.head_dim;
        EXPECT_EQ(row_of(to, first + 2 * i), row_of(from, first + i)) << tensor << " head " << h;
        EXPECT_EQ(row_of(to, first + 2 * i + 1), row_of(from, first + i + c.head_dim / 2)) << tensor << " head " << h;
      }
    }
  }
}

TEST_P(HfToGguf, QuantisesAsTheReferenceDoes) {
  const Checkpoint source = Checkpoint::open(kData / GetParam());
  for (DType weights : {DType::kF16, DType::kBF16, DType::kQ8_0, DType::kQ4_0, DType::kQ5_1}) {
    const Checkpoint file = Checkpoint::open(convert(weights));
    const View from = *source.find("blk.0.ffn_up.weight"), to = *file.find("blk.0.ffn_up.weight");
    ASSERT_EQ(to.dtype, weights);
    std::vector<std::byte> expected(static_cast<size_t>(to.row_size()));
    for (int64_t r = 0; r < to.rows(); ++r) {
      ref::quantize_row(weights, row_of(from, r).data(), expected.data(), to.columns());
      ASSERT_EQ(std::memcmp(to.row(r), expected.data(), expected.size()), 0) << name(weights) << " row " << r;
    }
    EXPECT_EQ(file.find("output_norm.weight")->dtype, DType::kF32);
    const View logits = *file.find(file.config().tied ? "token_embd.weight" : "output.weight");
    EXPECT_EQ(logits.dtype, is_quantised(weights) ? DType::kQ8_0 : weights);
  }
}

TEST_P(HfToGguf, KeepsTheTokenizer) {
  const Tokenizer before = load_tokenizer(kData / GetParam()), after = load_tokenizer(convert(DType::kF16));
  for (const char* text : {"the cat sat", "<|begin_of_text|>x", " 12345 it's\n\n", "größe 字 🙂"})
    EXPECT_EQ(before.encode(text), after.encode(text)) << text;
  EXPECT_EQ(before.spec().bos, after.spec().bos);
  EXPECT_EQ(before.spec().eos, after.spec().eos);
  EXPECT_EQ(before.spec().end_ids, after.spec().end_ids);
}

TEST_P(HfToGguf, LeavesNothingBehindWhenStopped) {
  const auto stop = [](int64_t, int64_t) { throw Error(ErrorKind::kInvalidArgument, "stopped"); };
  EXPECT_THROW(hf_to_gguf(Context(1), kData / GetParam(), folder_ / "x.gguf", DType::kF16, stop), Error);
  EXPECT_TRUE(folder_.empty());
}

INSTANTIATE_TEST_SUITE_P(Models, HfToGguf, testing::Values("tiny-llama3", "tiny-linear"));

// Of tiny-qwen2 with so much more in its rope_scaling.
RopeConfig converted_yarn(const std::string& more) {
  const TestFolder folder;
  fs::copy(kData / "tiny-qwen2", folder / "model");
  std::string config = read_text(kData / "tiny-qwen2/config.json", kMaxConfigBytes);
  const std::string_view factor = "\"factor\": 4.0,";
  config.insert(config.find(factor) + factor.size(), more);
  folder.write("model/config.json", config);
  hf_to_gguf(Context(1), folder / "model", folder / "x.gguf", DType::kF16, nullptr);
  return Checkpoint::open(folder / "x.gguf").config().rope;
}

TEST(HfToGgufYarn, KeepsItsNumbers) {
  const RopeConfig rope = converted_yarn(R"("beta_fast": 16, "beta_slow": 2, "attention_factor": 0.75,)");
  EXPECT_EQ(rope.scaling, RopeScaling::kYarn);
  EXPECT_EQ(std::tuple(rope.factor, rope.high, rope.low, rope.original_context), std::tuple(4., 16., 2., 64));
  EXPECT_FLOAT_EQ(rope.amplitude, 0.75f);
  EXPECT_FLOAT_EQ(converted_yarn("").amplitude, static_cast<float>(yarn_amplitude(4)));
  EXPECT_THROW(converted_yarn(R"("truncate": false,)"), Error);  // GGUF cannot say it
}

TEST(HfToGgufArguments, AreChecked) {
  const TestFolder folder;
  EXPECT_THROW(hf_to_gguf(Context(1), kData / "tiny-linear", folder / "x.gguf", DType::kI8, nullptr), Error);
  EXPECT_THROW(hf_to_gguf(Context(1), folder / "none", folder / "x.gguf", DType::kF16, nullptr), Error);
  EXPECT_TRUE(folder.empty());
}

}  // namespace
}  // namespace lowkey
