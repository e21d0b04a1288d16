// What `lowkey eval` measures is what NumPy finds in f64 from whole matrices (tools/make_eval_fixture.py).
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "attention/fit_calibration.h"
#include "attention/spec.h"
#include "engine/online_calibration.h"
#include "lab/agreement.h"
#include "lab/key_spectrum.h"
#include "lab/perplexity.h"

namespace lowkey {
namespace {

const std::filesystem::path kData = std::filesystem::path(LOWKEY_SOURCE_DIR) / "tests/data";
// Of logits up to 4.3, computed in f32: 64 units in the last place. PyTorch's own f32 pass is off by 1.5e-5.
constexpr double kLogitError = 64 * 4.3 * 0x1p-23;
constexpr double kWritten = 1e-8;  // the fixture has nine digits

const nlohmann::json& fixture() {
  static const auto json = nlohmann::json::parse(std::ifstream(kData / "eval.json"));
  return json;
}
const Model& model() {
  static const auto model = open_model(kData / fixture()["model"].get<std::string>());
  return *model;
}
const Context& context() {
  static const Context context(2);
  return context;
}
std::vector<int32_t> ids() { return fixture()["ids"].get<std::vector<int32_t>>(); }

TEST(EvalFigures, Perplexity) {
  const auto dense = make_method(parse_attention_spec("dense"), {.shape = model().shape().attention});
  const PerplexityOptions options{
      .context = fixture()["context"], .stride = fixture()["stride"], .chunk = 48, .kv_type = DType::kF32};
  const PerplexityResult r =
      perplexity(context(), model(), *dense, ids(), options, [](int64_t, int64_t) { return true; });
  const nlohmann::json& windows = fixture()["perplexity"];
  ASSERT_EQ(r.window_nll.size(), windows.size());
  double nll = 0, tokens = 0;
  for (size_t i = 0; i < windows.size(); ++i) {
    EXPECT_NEAR(r.window_nll[i], windows[i]["nll"].get<double>(), 2 * kLogitError) << i;
    EXPECT_EQ(r.window_tokens[i], windows[i]["tokens"].get<int64_t>()) << i;
    nll += windows[i]["nll"].get<double>() * windows[i]["tokens"].get<double>();
    tokens += windows[i]["tokens"].get<double>();
  }
  EXPECT_NEAR(r.perplexity, std::exp(nll / tokens), 2 * kLogitError * r.perplexity);
}

std::vector<WindowAgreement> agreement_of(const std::string& text) {
  const AttentionSpec spec = parse_attention_spec(text);
  const auto method = make_method(with_every_row(spec), {.shape = model().shape().attention});
  const ComparedMethod compared{.name = text, .method = method.get(), .always = always_read(spec)};
  const AgreementOptions options{.context = fixture()["context"],
                                 .windows = 1,
                                 .scored = fixture()["scored"],
                                 .chunk = 16,
                                 .kv_type = DType::kF32,
                                 .observe_every = 1};
  return agreement(context(), model(), {&compared, 1}, ids(), options,
                   [](int64_t, int64_t, std::string_view) { return true; })[0];
}

void expect_heads(const nlohmann::json& expected, const Observation& o) {
  const auto heads = static_cast<size_t>(model().shape().attention.heads);
  ASSERT_EQ(o.heads.size(), o.layers.size() * heads);
  for (size_t i = 0; i < o.heads.size(); ++i) {
    const LayerObservation& head = o.heads[i];
    const auto lists = static_cast<double>(head.lists), rows = static_cast<double>(head.query_heads);
    const auto of = [&](const char* key) { return expected[key][i / heads][i % heads].get<double>(); };
    EXPECT_NEAR(head.recall / lists, of("recall"), kWritten) << i;
    EXPECT_NEAR(head.jaccard / lists, of("jaccard"), kWritten) << i;
    EXPECT_NEAR(head.mass / rows, of("mass"), kLogitError) << i;
    EXPECT_NEAR(head.exact_mass / rows, of("exact_mass"), kLogitError) << i;
    EXPECT_NEAR(head.output_error / rows, of("output_error"), kLogitError) << i;
  }
}

// Of the layers: means of their heads, however many share a list.
void expect_layers(const nlohmann::json& expected, const Observation& o) {
  for (size_t l = 0; l < o.layers.size(); ++l) {
    const auto mean = [&](const char* key) {
      double sum = 0;
      for (const auto& value : expected[key][l]) sum += value.get<double>();
      return sum / static_cast<double>(expected[key][l].size());
    };
    const LayerObservation& layer = o.layers[l];
    EXPECT_NEAR(layer.recall / static_cast<double>(layer.lists), mean("recall"), kWritten) << l;
    EXPECT_NEAR(layer.jaccard / static_cast<double>(layer.lists), mean("jaccard"), kWritten) << l;
    EXPECT_NEAR(layer.mass / static_cast<double>(layer.query_heads), mean("mass"), kLogitError) << l;
    EXPECT_NEAR(layer.output_error / static_cast<double>(layer.query_heads), mean("output_error"), kLogitError) << l;
  }
}

TEST(EvalFigures, Agreement) {
  for (const nlohmann::json& expected : fixture()["agreement"]) {
    SCOPED_TRACE(expected["attention"].get<std::string>());
    const auto windows = agreement_of(expected["attention"]);
    ASSERT_EQ(windows.size(), 1u);
    const WindowAgreement& w = windows[0];
    EXPECT_NEAR(w.kl, expected["kl"].get<double>(), 4 * kLogitError);  // two predictions, twice each
    EXPECT_NEAR(w.nll, expected["nll"].get<double>(), 2 * kLogitError);
    EXPECT_NEAR(w.dense_nll, expected["dense_nll"].get<double>(), 2 * kLogitError);
    EXPECT_NEAR(w.same_top, expected["same_top"].get<double>(), kWritten);
    expect_heads(expected, w.observed);
    expect_layers(expected, w.observed);
  }
}

TEST(EvalFigures, SpectraRanksAndEntropies) {
  const std::vector<int32_t> tokens = ids();
  const KeyRecorder recorder(model().shape().attention, {.tokens = static_cast<int64_t>(tokens.size()), .sample = 0});
  record_keys(context(), model(), recorder, tokens, 48, nullptr);
  const Calibration c = fit_calibration(context(), recorder.statistics(), {.codebook_bits = {}}, nullptr);
  const auto dims = static_cast<size_t>(c.head_dim);
  for (BasisKind kind : {BasisKind::kPre, BasisKind::kPost}) {
    for (int layer = 0; layer < c.layers; ++layer) {
      for (int head = 0; head < c.kv_heads; ++head) {
        const auto l = static_cast<size_t>(layer), h = static_cast<size_t>(head);
        const nlohmann::json& expected = fixture()["spectra"][std::string(name(kind))][l][h];
        const size_t at = c.head(layer, head);
        const auto spectrum = std::span(c.basis(kind).spectrum).subspan(at * dims, dims);
        // What is below the first layer has been read through a cache of f16.
        const double error = layer == 0 ? 64 * 0x1p-23 : 0x1p-11;
        for (size_t d = 0; d < dims; ++d)
          EXPECT_NEAR(spectrum[d], expected["spectrum"][d].get<double>(), error * spectrum[0]) << d;
        EXPECT_NEAR(entropy_share(spectrum), expected["entropy"].get<double>(), error);
        EXPECT_NEAR(effective_rank(spectrum), expected["effective_rank"].get<double>(),
                    error * static_cast<double>(dims) * std::log(static_cast<double>(dims)));
        for (size_t share = 0; share < kRankShares.size(); ++share)
          EXPECT_EQ(c.basis(kind).ranks[at * kRankShares.size() + share], expected["ranks"][share].get<int>()) << share;
      }
    }
  }
}

}  // namespace
}  // namespace lowkey
