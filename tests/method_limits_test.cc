// Limit identities: what every method must equal at the ends of its range, whatever the type of the cache, the size of
// its pages, the batch and the cutting of the prompt. On a tiny model of random weights with grouped queries.
#include <gtest/gtest.h>

#include "attention/calibration.h"
#include "attention/spec.h"
#include "base/error.h"
#include "engine/online_calibration.h"
#include "tests/tiny_llama.h"

namespace lowkey {
namespace {

std::shared_ptr<const Calibration> calibration() {
  static const auto fitted =
      std::make_shared<const Calibration>(fit_online(Context(2), tiny_model(), random_tokens(1000, 5)));
  return fitted;
}

std::unique_ptr<Method> method(const std::string& spec) {
  return make_method(parse_attention_spec(spec),
                     {.shape = tiny_model().shape().attention, .calibration = calibration()});
}

// "auto" with these for the layers, in turn.
std::unique_ptr<Method> method_of_layers(const std::vector<std::string>& specs) {
  auto tuned = std::make_shared<Calibration>(*calibration());
  tuned->profile.emplace();
  for (size_t l = 0; l < static_cast<size_t>(tuned->layers); ++l)
    tuned->profile->layers.push_back(specs[l % specs.size()]);
  return make_method(parse_attention_spec("auto"),
                     {.shape = tiny_model().shape().attention, .calibration = std::move(tuned)});
}

struct Layout {
  DType kv_type;
  int page_tokens;
};

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
std::vector<float> answer(const Method& m, Layout layout, size_t prompt = 300, size_t chunk = 512) {
  Batch batch(m, layout);
  std::vector<float> all = batch.read(random_tokens(prompt, 1), chunk);
  for (int32_t id : random_tokens(8, 2)) {
    const std::vector<float> logits = batch.decode({&id, 1});
    all.insert(all.end(), logits.begin(), logits.end());
  }
  return all;
}

std::vector<float> answer(const std::string& spec, Layout layout, size_t prompt = 300, size_t chunk = 512) {
  return answer(*method(spec), layout, prompt, chunk);
}

// Everything that ranks tokens, with settings that select at 300 tokens.
const std::vector<std::string>& ranking_methods() {
  static const std::vector<std::string> specs = {"topk:min=0",
                                                 "topk:heads=query",
                                                 "loki:min=0,index=bits:96",
                                                 "loki:min=0,index=bits:192,basis=balanced",
                                                 "loki:min=0,index=sign,rope=pre",
                                                 "loki:min=0,index=int8,d=24",
                                                 "loki:min=0,index=int4,d=48",
                                                 "loki:form=paper,d=12",
                                                 "loki:form=paper,rope=pre,d=0.9v",
                                                 "quest:page=4,min=0",
                                                 "quest:page=2",
                                                 "quest:page=1",
                                                 "sparq:min=0",
                                                 "sparq:r=8,score=softmax",
                                                 "sparq:r=5,mean=off"};
  return specs;
}

// What rotating keys before they are rounded to the cache's type may change in the logits: so many units in the last
// place of that type, of the logits' range. A wrong key or a wrong rotation changes them by a good part of the range.
double rotation_tolerance(DType kv_type, const std::vector<float>& logits) {
  const double eps = kv_type == DType::kF32   ? 0x1p-24
                     : kv_type == DType::kF16 ? 0x1p-11
                     : has_scales(kv_type)    ? 0.5 / 127
                                              : 0x1p-8;
  const auto [least, most] = std::minmax_element(logits.begin(), logits.end());
  return 16 * eps * (*most - *least);
}

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(double{a[i]} - b[i]));
  return worst;
}

bool keeps_rotated_keys(const std::string& spec) { return spec.find("form=paper") != std::string::npos; }

// A cache of bytes is not for methods that read its numbers as they lie: they say so.
bool is_refused(const std::string& spec, Layout layout) {
  if (!has_scales(layout.kv_type)) return false;
  if (spec.find("quest") == std::string::npos && spec.find("sparq") == std::string::npos) return false;
  EXPECT_THROW(answer(spec, layout), Error) << spec;
  return true;
}

class MethodLimits : public testing::TestWithParam<Layout> {};

TEST_P(MethodLimits, EverythingSelectedEqualsDense) {
  const std::vector<float> dense = answer("dense", GetParam());
  for (const std::string& name : ranking_methods()) {
    if (is_refused(name, GetParam())) continue;
    for (const char* all : {",k=all", ",k=1.0,sink=0,recent=0", ",k=250,sink=10,recent=64", ",k=400"}) {
      const std::vector<float> out = answer(name + all, GetParam());
      if (keeps_rotated_keys(name)) {
        EXPECT_LE(largest_difference(out, dense), rotation_tolerance(GetParam().kv_type, dense)) << name << all;
      } else {
        EXPECT_EQ(out, dense) << name << all;
      }
    }
  }
  EXPECT_EQ(answer("streaming:recent=400", GetParam()), dense);
  EXPECT_EQ(answer("streaming:recent=all", GetParam()), dense);
}

TEST_P(MethodLimits, LayersOfTheirOwnEqualDenseWhenEachDoes) {
  const std::vector<float> dense = answer("dense", GetParam()), in_chunks = answer("dense", GetParam(), 300, 37);
  const std::string wide = "loki:min=0,index=bits:96,k=all", narrow = "loki:min=0,index=bits:48,k=all";
  for (const auto& layers :
       {std::vector{wide, narrow}, {narrow, wide}, {wide, "sparq:k=all"}, {"topk:k=400", "dense"}}) {
    if (is_refused(layers[1], GetParam())) continue;
    EXPECT_EQ(answer(*method_of_layers(layers), GetParam()), dense) << layers[0] << " " << layers[1];
    EXPECT_EQ(answer(*method_of_layers(layers), GetParam(), 300, 37), in_chunks) << layers[0] << " " << layers[1];
  }
  // A layer chooses the same tokens whatever the side data of the other needs.
  const std::string few = "loki:min=0,index=bits:48,k=8,sink=1,recent=4";
  const std::vector<float> alone = answer(*method_of_layers({few, "dense"}), GetParam());
  EXPECT_EQ(answer(*method_of_layers({few, wide}), GetParam()), alone);
  EXPECT_NE(alone, dense);
}

TEST_P(MethodLimits, UnlimitedH2oEqualsDense) {
  const std::vector<float> dense = answer("dense", GetParam());
  for (const char* budget : {"heavy=all", "heavy=1,recent=400", "heavy=200,recent=200", "heavy=0.9,recent=0.5"})
    EXPECT_EQ(answer(std::string("h2o:") + budget, GetParam()), dense) << budget;
  EXPECT_EQ(answer("h2o:form=paper,heavy=400,recent=1", GetParam()), dense);
}

TEST_P(MethodLimits, H2oKeepsToItsBudget) {
  for (const char* spec : {"h2o:heavy=40,recent=24", "h2o:heavy=40,recent=24,prefill=sparse",
                           "loki:min=0,k=16,sink=2,recent=4,index=bits:96+h2o:heavy=40,recent=24",
                           "sparq:k=16,sink=2,recent=4+h2o:heavy=40,recent=24"}) {
    if (is_refused(spec, GetParam())) continue;
    const auto m = method(spec);
    Batch batch(*m, GetParam());
    batch.read(random_tokens(300, 1), 100);
    std::vector<float> out;
    for (int32_t id : random_tokens(8, 2)) out = batch.decode({&id, 1});
    EXPECT_EQ(batch.cache().length(0), 64) << spec;
    EXPECT_EQ(batch.cache().position(0), 308) << spec;
    for (float logit : out) ASSERT_TRUE(std::isfinite(logit)) << spec;
  }
  EXPECT_NE(answer("h2o:heavy=40,recent=24", GetParam()), answer("dense", GetParam()));
  EXPECT_NE(answer("h2o:form=paper,heavy=40,recent=24", GetParam()), answer("dense", GetParam()));
}

TEST_P(MethodLimits, AMethodOnAnUnlimitedH2oIsTheMethod) {
  for (const std::string name : {"topk:k=1/8", "loki:min=0,index=bits:96,k=1/8", "sparq:k=1/8"}) {
    if (is_refused(name, GetParam())) continue;
    EXPECT_EQ(answer(name + "+h2o:heavy=all", GetParam()), answer(name, GetParam())) << name;
  }
}

TEST(Method, RefusesWhatDoesNotGoTogether) {
  for (const char* spec : {"quest+h2o", "topk:heads=query+h2o", "loki:form=paper+h2o", "topk+h2o:form=paper",
                           "loki:index=pq:64,d=8", "loki:index=bits:64,d=8", "loki:basis=balanced,rope=pre",
                           "loki:basis=content,rope=post", "loki:index=pq:64"}) {  // fitted online: no codebooks
    try {
      method(spec);
      ADD_FAILURE() << spec << " was made";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kInvalidArgument) << spec;
    }
  }
  EXPECT_THROW(parse_attention_spec("h2o+h2o"), Error);
  EXPECT_THROW(parse_attention_spec("topk+quest"), Error);
}

TEST(LokiLimit, AllDimensionsEqualExactTopk) {
  // In f32, so that no two scores are so near that the rotation's rounding swaps them.
  const Layout layout{DType::kF32, 64};
  const std::vector<float> exact = answer("topk:heads=query,k=1/8,sink=0,recent=0", layout);
  for (const char* rope : {"pre", "post"}) {
    const std::vector<float> out = answer(std::string("loki:form=paper,d=48,k=1/8,rope=") + rope, layout);
    EXPECT_LE(largest_difference(out, exact), rotation_tolerance(DType::kF32, exact)) << rope;
  }
}

TEST(QuestLimit, BlocksOfOneTokenEqualExactTopk) {
  // In f32, as above: the bounds of one key give its score, added up in another order.
  const Layout layout{DType::kF32, 64};
  const std::vector<float> exact = answer("topk:k=1/8,sink=0,recent=0", layout);
  const std::vector<float> out = answer("quest:page=1,k=1/8,sink=0,recent=0", layout);
  EXPECT_LE(largest_difference(out, exact), rotation_tolerance(DType::kF32, exact));
}

TEST(SparqLimit, AllColumnsEqualExactTopk) {
  // In f32, as above.
  const Layout layout{DType::kF32, 64};
  const std::vector<float> exact = answer("topk:k=1/8", layout);
  const std::vector<float> out = answer("sparq:r=48,score=softmax,mean=off,k=1/8", layout);
  EXPECT_LE(largest_difference(out, exact), rotation_tolerance(DType::kF32, exact));
}

TEST_P(MethodLimits, SelectingLessIsNotDense) {
  const std::vector<float> dense = answer("dense", GetParam());
  for (const std::string& name : ranking_methods()) {
    if (is_refused(name, GetParam())) continue;
    EXPECT_NE(answer(name + ",k=8,sink=1,recent=4", GetParam()), dense) << name;
  }
  EXPECT_NE(answer("streaming:sink=1,recent=4", GetParam()), dense);
}

TEST_P(MethodLimits, BelowItsMinimumAMethodIsDense) {
  const std::vector<float> dense = answer("dense", GetParam());
  for (const std::string& name : ranking_methods()) {
    if (keeps_rotated_keys(name) || is_refused(name, GetParam())) continue;
    std::string gated = name;  // with a minimum of 400 in place of none
    const size_t min = gated.find("min=0");
    gated = min == std::string::npos ? gated + ",min=400" : gated.replace(min, 5, "min=400");
    EXPECT_EQ(answer(gated + ",k=8", GetParam()), dense) << gated;
    EXPECT_EQ(answer(name + ",k=8,dense_layers=99", GetParam()), dense) << name;
  }
}

TEST_P(MethodLimits, BatchOfManyEqualsOneByOne) {
  std::vector<std::string> specs = {"dense", "streaming:recent=50", "quest:page=16,k=1/8,recent=8",
                                    "h2o:heavy=20,recent=20"};
  for (const std::string& name : ranking_methods()) specs.push_back(name + ",k=1/8,recent=8");
  const size_t lengths[] = {40, 200, 129};
  const auto vocabulary = static_cast<size_t>(tiny_model().shape().vocabulary);
  for (const std::string& spec : specs) {
    if (is_refused(spec, GetParam())) continue;
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
    const std::string spec = name + ",k=1/8,recent=8,prefill=all";
    if (is_refused(spec, GetParam())) continue;
    const std::vector<float> whole = answer(spec, GetParam());
    for (size_t chunk : {20, 50, 128}) EXPECT_EQ(answer(spec, GetParam(), 300, chunk), whole) << spec << ", " << chunk;
  }
}

INSTANTIATE_TEST_SUITE_P(Layouts, MethodLimits,
                         testing::Values(Layout{DType::kF32, 64}, Layout{DType::kF16, 64}, Layout{DType::kF16, 128},
                                         Layout{DType::kBF16, 256}, Layout{DType::kI8, 64}, Layout{DType::kI8I4, 64}),
                         [](const auto& info) {
                           return std::string(name(info.param.kv_type)) + "_pages_of_" +
                                  std::to_string(info.param.page_tokens);
                         });

}  // namespace
}  // namespace lowkey
