// Every family with every method: all tokens selected equal dense attention, few tokens do not; what does not go
// together is refused. On the tiny models of random weights that logits_test.cc compares with Hugging Face
// transformers.
#include <gtest/gtest.h>

#include <filesystem>
#include <random>

#include "attention/calibration.h"
#include "attention/spec.h"
#include "base/error.h"
#include "base/isa.h"
#include "engine/online_calibration.h"
#include "model/hf_to_gguf.h"
#include "model/model.h"

namespace lowkey {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFamilies[] = {"qwen2", "qwen3",    "qwen3_moe", "mistral", "mixtral",
                                     "phi3",  "gpt_neox", "gpt2",      "gemma2",  "gemma3_text"};
constexpr int64_t kPrompt = 200, kDecoded = 4;

class Families : public testing::TestWithParam<const char*> {
 protected:
  // As f32, which every instruction set multiplies in f32: bf16 weights meet inputs rounded to bf16 on AMX.
  Families() : model_(as(DType::kF32)), tokens_(static_cast<size_t>(kPrompt + kDecoded)) {
    std::mt19937 random(3);
    for (int32_t& id : tokens_) id = static_cast<int32_t>(random() % static_cast<unsigned>(model_->shape().vocabulary));
  }

  static fs::path folder() { return fs::path(LOWKEY_SOURCE_DIR) / "tests/data" / (std::string("tiny-") + GetParam()); }
  static std::unique_ptr<Model> as(DType type) {
    const fs::path file = fs::path(testing::TempDir()) / fmt::format("lowkey-{}-{}.gguf", GetParam(), getpid());
    hf_to_gguf(Context(2), folder(), file, type, nullptr);
    auto model = open_model(file);
    fs::remove(file);  // mapped
    return model;
  }
  const AttentionShape& shape() const { return model_->shape().attention; }
  bool windows() const { return shape().window > 0; }
  bool capped() const { return shape().score_cap > 0; }

  std::unique_ptr<Method> method(const std::string& spec) {
    if (!calibration_)
      calibration_ =
          std::make_shared<const Calibration>(fit_online(context_, *model_, std::span(tokens_).first(kPrompt)));
    return make_method(parse_attention_spec(spec), {.shape = shape(), .calibration = calibration_});
  }

  // A prompt in two pieces and some steps: the logits of each.
  std::vector<float> answer(const std::string& spec) {
    const auto m = method(spec);
    KvCache cache(kv_shape(model_->shape(), *m, DType::kF32, 512));
    const KvCache::SequenceId id = cache.open();
    std::vector<float> all;
    for (size_t at = 0; at < tokens_.size();) {
      const size_t count = at < size_t{kPrompt} ? size_t{kPrompt} / 2 : 1;
      all.resize(all.size() + static_cast<size_t>(model_->shape().vocabulary));
      EXPECT_TRUE(cache.grow(id, static_cast<int64_t>(count)));
      const StepSequence sequence{id, static_cast<int32_t>(count)};
      const auto row = static_cast<int32_t>(count - 1);
      model_->forward(context_, *m, cache,
                      {std::span(tokens_).subspan(at, count),
                       {&sequence, 1},
                       {&row, 1},
                       f32_view(&*all.end() - model_->shape().vocabulary, {1, model_->shape().vocabulary})});
      at += count;
    }
    return all;
  }

  // Methods that rank, with settings that select at this length.
  std::vector<std::string> ranking() const {
    const std::string mean = windows() || capped() ? ",mean=off" : "";
    return {"topk:min=0", "topk:heads=query", "loki:min=0,index=bits:64", "quest:page=4,min=0", "sparq:r=8" + mean};
  }

  const Context context_{2};
  std::unique_ptr<Model> model_;
  std::vector<int32_t> tokens_;
  std::shared_ptr<const Calibration> calibration_;
};

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(double{a[i]} - b[i]));
  return worst;
}

double range(const std::vector<float>& logits) {
  const auto [least, most] = std::minmax_element(logits.begin(), logits.end());
  return *most - *least;
}

// What keys kept in another basis or rebuilt from inputs may change, in f32: some hundred roundings of the logits'
// range.
double rotation_tolerance(const std::vector<float>& logits) { return 512 * 0x1p-24 * range(logits); }

TEST_P(Families, EverythingSelectedEqualsDense) {
  const std::vector<float> dense = answer("dense");
  for (const std::string& spec : ranking())
    for (const char* all : {",k=all", ",k=150,sink=10,recent=64"}) EXPECT_EQ(answer(spec + all), dense) << spec << all;
  EXPECT_EQ(answer("streaming:recent=all"), dense);
  EXPECT_LE(largest_difference(answer("loki:form=paper,k=all"), dense), rotation_tolerance(dense));
  if (windows() || capped()) return;
  EXPECT_EQ(answer("h2o:heavy=all"), dense);
  // Normalised keys are no linear function of the inputs, so no rank of these gives them back exactly.
  const double tolerance =
      std::string(GetParam()).starts_with("qwen3") ? 0.1 * range(dense) : rotation_tolerance(dense);
  EXPECT_LE(largest_difference(answer("atp:r=all,min=0,sink=2,recent=10,chunk=50"), dense), tolerance);
}

TEST_P(Families, FewSelectedAreNotDense) {
  const std::vector<float> dense = answer("dense");
  for (const std::string& spec : ranking()) {
    const std::vector<float> out = answer(spec + ",k=8,sink=1,recent=4");
    EXPECT_NE(out, dense) << spec;
    for (float logit : out) ASSERT_TRUE(std::isfinite(logit)) << spec;
  }
}

TEST_P(Families, RefuseWhatTheirWindowsAndCapsDoNotGoWith) {
  for (const char* spec : {"h2o", "topk+h2o", "atp", "sparq"}) {
    if (!windows() && !capped()) continue;
    try {
      method(spec);
      ADD_FAILURE() << spec << " was made";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kInvalidArgument);
      EXPECT_NE(std::string(error.what()).find(windows() ? "sliding window" : "capped"), std::string::npos)
          << error.what();
    }
  }
  if (capped()) {
    EXPECT_THROW(method("topk:p=0.9"), Error);
  }
}

TEST_P(Families, AsGgufTheyAreTheSame) {
  model_ = open_model(folder());
  const std::vector<float> before = answer("dense");
  const std::string fingerprint = model_->fingerprint();
  model_ = as(DType::kBF16);
  EXPECT_EQ(model_->fingerprint(), fingerprint);
  // A mixture's gates are f32 in a GGUF; as bf16, as the folder has them, AMX rounds their inputs to 8 bits.
  const bool mixture = GetParam() == std::string("mixtral") || GetParam() == std::string("qwen3_moe");
  const double gates = active_isa() == Isa::kAmx && mixture ? 4 * 0x1p-9 * range(before) : 0;
  EXPECT_LE(largest_difference(answer("dense"), before), rotation_tolerance(before) + gates);
}

INSTANTIATE_TEST_SUITE_P(All, Families, testing::ValuesIn(kFamilies),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace lowkey
