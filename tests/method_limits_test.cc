// Limit identities: what every method must equal at the ends of its range, whatever the type of the cache, the size of
// its pages, the batch and the cutting of the prompt. On a tiny model of random weights with grouped queries.
#include <gtest/gtest.h>

#include <filesystem>
#include <random>

#include "attention/spec.h"
#include "base/error.h"
#include "model/model.h"

namespace lowkey {
namespace {

const Model& tiny_model() {
  static const auto model = open_model(std::filesystem::path(LOWKEY_SOURCE_DIR) / "tests/data/tiny-llama3");
  return *model;
}

std::unique_ptr<Method> method(const std::string& spec) {
  return make_method(parse_attention_spec(spec), {.shape = tiny_model().shape().attention, .calibration = nullptr});
}

struct Layout {
  DType kv_type;
  int page_tokens;
};

std::vector<int32_t> random_tokens(size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<int32_t> ids(count);
  for (int32_t& id : ids) id = static_cast<int32_t>(random() % static_cast<unsigned>(tiny_model().shape().vocabulary));
  return ids;
}

// Sequences that share a cache: prompts are read in chunks, then all of them decode together.
class Batch {
 public:
  Batch(const Method& method, Layout layout, int64_t max_tokens = 4096)
      : method_(method), cache_(shape(layout, max_tokens)) {}

  // Reads `prompt` as a new sequence, chunk by chunk; logits of its last token.
  std::vector<float> read(std::span<const int32_t> prompt, size_t chunk) {
    ids_.push_back(cache_.open());
    std::vector<float> logits;
    for (size_t at = 0; at < prompt.size(); at += chunk) {
      const auto piece = prompt.subspan(at, std::min(chunk, prompt.size() - at));
      logits = step(piece, {{ids_.back(), static_cast<int32_t>(piece.size())}});
    }
    return logits;
  }
  // One token of each sequence; logits one row after another.
  std::vector<float> decode(std::span<const int32_t> tokens) {
    std::vector<StepSequence> sequences;
    for (KvCache::SequenceId id : ids_) sequences.push_back({id, 1});
    return step(tokens, sequences);
  }
  const KvCache& cache() const { return cache_; }

 private:
  KvShape shape(Layout layout, int64_t max_tokens) const {
    KvShape kv = kv_shape(tiny_model().shape(), method_, layout.kv_type, max_tokens);
    kv.page_tokens = layout.page_tokens;
    kv.plane_bytes = method_.planes(tiny_model().shape().attention, layout.kv_type, layout.page_tokens);
    return kv;
  }
  std::vector<float> step(std::span<const int32_t> tokens, const std::vector<StepSequence>& sequences) {
    std::vector<int32_t> last;
    int32_t row = -1;
    for (const StepSequence& s : sequences) {
      EXPECT_TRUE(cache_.grow(s.id, s.count));
      last.push_back(row += s.count);
    }
    std::vector<float> logits(last.size() * static_cast<size_t>(tiny_model().shape().vocabulary));
    tiny_model().forward(
        context_, method_, cache_,
        {tokens, sequences, last,
         f32_view(logits.data(), {static_cast<int64_t>(last.size()), tiny_model().shape().vocabulary})});
    cache_.check_integrity();
    return logits;
  }

  Context context_{2};
  const Method& method_;
  KvCache cache_;
  std::vector<KvCache::SequenceId> ids_;
};

// A prompt and eight decoding steps: all logits.
std::vector<float> answer(const std::string& spec, Layout layout, size_t prompt = 300, size_t chunk = 512) {
  const auto m = method(spec);
  Batch batch(*m, layout);
  std::vector<float> all = batch.read(random_tokens(prompt, 1), chunk);
  for (int32_t id : random_tokens(8, 2)) {
    const std::vector<float> logits = batch.decode({&id, 1});
    all.insert(all.end(), logits.begin(), logits.end());
  }
  return all;
}

// Everything that ranks tokens, with settings that select at 300 tokens.
const std::vector<std::string>& ranking_methods() {
  static const std::vector<std::string> specs = {"topk"};
  return specs;
}

class MethodLimits : public testing::TestWithParam<Layout> {};

TEST_P(MethodLimits, EverythingSelectedEqualsDense) {
  const std::vector<float> dense = answer("dense", GetParam());
  for (const std::string& name : ranking_methods())
    for (const char* all : {"k=all", "k=1.0,sink=0,recent=0", "k=250,sink=10,recent=64", "k=300"})
      EXPECT_EQ(answer(name + ":" + all, GetParam()), dense) << name << ":" << all;
  EXPECT_EQ(answer("streaming:recent=400", GetParam()), dense);
  EXPECT_EQ(answer("streaming:recent=all", GetParam()), dense);
}

TEST_P(MethodLimits, SelectingLessIsNotDense) {
  const std::vector<float> dense = answer("dense", GetParam());
  for (const std::string& name : ranking_methods())
    EXPECT_NE(answer(name + ":k=8,sink=1,recent=4", GetParam()), dense) << name;
  EXPECT_NE(answer("streaming:sink=1,recent=4", GetParam()), dense);
}

TEST_P(MethodLimits, BelowItsMinimumAMethodIsDense) {
  const std::vector<float> dense = answer("dense", GetParam());
  for (const std::string& name : ranking_methods()) {
    EXPECT_EQ(answer(name + ":k=8,min=400", GetParam()), dense) << name;
    EXPECT_EQ(answer(name + ":k=8,dense_layers=99", GetParam()), dense) << name;
  }
}

TEST_P(MethodLimits, BatchOfManyEqualsOneByOne) {
  std::vector<std::string> specs = {"dense", "streaming:recent=50"};
  for (const std::string& name : ranking_methods()) specs.push_back(name + ":k=1/8,recent=8");
  const size_t lengths[] = {40, 200, 129};
  const auto vocabulary = static_cast<size_t>(tiny_model().shape().vocabulary);
  for (const std::string& spec : specs) {
    const auto m = method(spec);
    Batch together(*m, GetParam());
    for (size_t b = 0; b < 3; ++b) together.read(random_tokens(lengths[b], static_cast<unsigned>(b)), 64);
    std::vector<std::vector<float>> rounds;
    const std::vector<int32_t> next = random_tokens(12, 9);
    for (size_t i = 0; i < 4; ++i) rounds.push_back(together.decode({next.data() + 3 * i, 3}));
    for (size_t b = 0; b < 3; ++b) {
      Batch alone(*m, GetParam());
      alone.read(random_tokens(lengths[b], static_cast<unsigned>(b)), 64);
      for (size_t i = 0; i < 4; ++i) {
        const std::vector<float> logits = alone.decode({next.data() + 3 * i + b, 1});
        const auto from = rounds[i].begin() + static_cast<int64_t>(b * vocabulary);
        EXPECT_TRUE(std::equal(logits.begin(), logits.end(), from)) << spec << ", sequence " << b << ", step " << i;
      }
    }
  }
}

TEST_P(MethodLimits, CuttingThePromptChangesNoSelection) {
  // With every row selecting for itself. No piece is so short that the layers' products add in another order.
  for (const std::string& name : ranking_methods()) {
    const std::string spec = name + ":k=1/8,recent=8,prefill=all";
    const std::vector<float> whole = answer(spec, GetParam());
    for (size_t chunk : {20, 50, 128}) EXPECT_EQ(answer(spec, GetParam(), 300, chunk), whole) << spec << ", " << chunk;
  }
}

INSTANTIATE_TEST_SUITE_P(Layouts, MethodLimits,
                         testing::Values(Layout{DType::kF32, 64}, Layout{DType::kF16, 64}, Layout{DType::kF16, 128},
                                         Layout{DType::kBF16, 256}),
                         [](const auto& info) {
                           return std::string(name(info.param.kv_type)) + "_pages_of_" +
                                  std::to_string(info.param.page_tokens);
                         });

}  // namespace
}  // namespace lowkey
