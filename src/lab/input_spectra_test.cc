#include "lab/input_spectra.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <numeric>
#include <random>

#include "attention/dense.h"
#include "base/error.h"
#include "linalg/spectrum.h"

namespace lowkey {
namespace {

const Model& tiny_model() {
  static const auto model = open_model(std::filesystem::path(LOWKEY_SOURCE_DIR) / "tests/data/tiny-llama3");
  return *model;
}

// Keeps the inputs of one layer as they are.
class InputKeeper final : public Method {
 public:
  InputKeeper(int layer, std::vector<float>& rows) : layer_(layer), rows_(rows) {}
  void project(const LayerStep& step, View x, const Qkv& qkv) const override {
    Method::project(step, x, qkv);
    if (step.layer == layer_) rows_.insert(rows_.end(), x.f32(), x.f32() + x.elements());
  }
  Selection select(const LayerStep& step, View q) const override { return Dense().select(step, q); }

 private:
  int layer_;
  std::vector<float>& rows_;
};

std::vector<int32_t> random_tokens(size_t count) {
  std::mt19937 random(1);
  std::vector<int32_t> ids(count);
  for (int32_t& id : ids) id = static_cast<int32_t>(random() % static_cast<unsigned>(tiny_model().shape().vocabulary));
  return ids;
}

TEST(InputSpectra, AreThoseOfTheInputs) {
  const Context context(2);
  const std::vector<int32_t> tokens = random_tokens(400);
  const int64_t lengths[] = {30, 300, 400};
  const auto spectra = input_spectra(context, tiny_model(), tokens, lengths, [](int64_t) { return true; });
  const AttentionShape& shape = tiny_model().shape().attention;
  ASSERT_EQ(spectra.size(), 3 * static_cast<size_t>(shape.layers));
  for (const InputSpectrum& s : spectra) {
    std::vector<float> rows;
    const InputKeeper keeper(s.layer, rows);
    KvCache cache(kv_shape(tiny_model().shape(), keeper, DType::kF16, 400));
    const StepSequence sequence{cache.open(), static_cast<int32_t>(s.tokens)};
    ASSERT_TRUE(cache.grow(sequence.id, s.tokens));
    tiny_model().forward(context, keeper, cache,
                         {std::span(tokens).first(static_cast<size_t>(s.tokens)), {&sequence, 1}, {}, {}});
    const View x = f32_view(rows.data(), {s.tokens, shape.width});
    for (const std::vector<double>* values : {&s.singular_values, &s.centred}) {
      if (values == &s.centred) {
        for (int64_t c = 0; c < shape.width; ++c) {
          double mean = 0;
          for (int64_t t = 0; t < s.tokens; ++t) mean += x.f32_row(t)[c] / static_cast<double>(s.tokens);
          for (int64_t t = 0; t < s.tokens; ++t) x.f32_row(t)[c] -= static_cast<float>(mean);
        }
      }
      const std::vector<double> wanted = singular_values(x);
      ASSERT_EQ(values->size(), wanted.size());
      // Products are rounded to f32, so their roots are good to sqrt(eps) of the largest.
      const double tolerance = std::sqrt(16 * 0x1p-24) * s.singular_values[0];
      for (size_t i = 0; i < wanted.size(); ++i)
        EXPECT_NEAR((*values)[i], wanted[i], tolerance) << s.tokens << ", " << i;
    }
  }
}

TEST(InputSpectra, RefusesLengthsThatTheTextDoesNotHave) {
  const std::vector<int32_t> tokens = random_tokens(20);
  const int64_t beyond[] = {21}, falling[] = {10, 5};
  const auto go_on = [](int64_t) { return true; };
  EXPECT_THROW(input_spectra(Context(1), tiny_model(), tokens, beyond, go_on), Error);
  EXPECT_THROW(input_spectra(Context(1), tiny_model(), tokens, falling, go_on), Error);
  EXPECT_THROW(input_spectra(Context(1), tiny_model(), tokens, {}, go_on), Error);
}

}  // namespace
}  // namespace lowkey
