#include "attention/calibration.h"

#include <gtest/gtest.h>

#include <deque>
#include <limits>

#include "attention/calibration_cases.h"
#include "base/error.h"
#include "formats/safetensors.h"
#include "formats/safetensors_writer.h"
#include "formats/test_folder.h"

namespace lowkey {
namespace {

constexpr int kLayers = 2, kHeads = 2, kDims = 16;

void expect_equal(const Calibration& a, const Calibration& b) {
  EXPECT_EQ(std::tie(a.model, a.layers, a.kv_heads, a.head_dim, a.tokens, a.context, a.tool, a.mean),
            std::tie(b.model, b.layers, b.kv_heads, b.head_dim, b.tokens, b.context, b.tool, b.mean));
  ASSERT_EQ(a.texts.size(), b.texts.size());
  for (size_t i = 0; i < a.texts.size(); ++i) EXPECT_EQ(a.texts[i].hash, b.texts[i].hash);
  for (BasisKind kind : kBasisKinds) {
    const KeyBasis &x = a.basis(kind), &y = b.basis(kind);
    EXPECT_EQ(std::tie(x.key, x.query, x.spectrum, x.variance, x.weight, x.ranks),
              std::tie(y.key, y.query, y.spectrum, y.variance, y.weight, y.ranks));
  }
  ASSERT_EQ(a.codebooks.size(), b.codebooks.size());
  for (const Codebooks& x : a.codebooks) {
    const Codebooks* y = b.find_codebooks(x.basis, x.bits);
    ASSERT_NE(y, nullptr);
    EXPECT_EQ(std::tie(x.rows, x.order, x.nibbles, x.entries), std::tie(y->rows, y->order, y->nibbles, y->entries));
  }
  EXPECT_EQ(a.statistics.has_value(), b.statistics.has_value());
}

class CalibrationFile : public testing::Test {
 protected:
  std::filesystem::path file() const { return folder_ / "c.safetensors"; }

  // Saves the calibration with one tensor or word changed, and expects that loading says what is wrong with it.
  template <typename F>
  void expect_refused(F&& change, ErrorKind kind, const std::string& part) {
    calibration_.save(file());
    const Safetensors read = Safetensors::open(file());
    SafetensorsContent content{read.tensors(), read.metadata()};
    change(content);
    const auto changed = folder_ / "changed.safetensors";
    write_safetensors(changed, content);
    try {
      Calibration::load(changed);
      ADD_FAILURE() << "loaded, though " << part;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), kind) << error.what();
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find("changed.safetensors"), std::string::npos) << error.what();
    }
  }

  // A copy of a tensor that may be changed.
  View own(SafetensorsContent& content, const std::string& tensor) {
    View& view = content.tensors.at(tensor);
    const auto* from = static_cast<const std::byte*>(view.data);
    bytes_.emplace_back(from, from + view.bytes());
    view.data = bytes_.back().data();
    return view;
  }
  void put(SafetensorsContent& content, const std::string& tensor, int64_t at, float value) {
    own(content, tensor).f32()[at] = value;
  }
  void put(SafetensorsContent& content, const std::string& tensor, int64_t at, int32_t value) {
    static_cast<int32_t*>(own(content, tensor).data)[at] = value;
  }

  const TestFolder folder_;
  const KeyWorld world_{kLayers, kHeads, kDims, 300};
  Calibration calibration_ = fit_world(world_, {16, 32});
  std::deque<std::vector<std::byte>> bytes_;
};

TEST_F(CalibrationFile, IsReadBackAsItWas) {
  calibration_.save(file());
  expect_equal(calibration_, Calibration::load(file()));
  calibration_.statistics = world_.statistics();
  calibration_.save(file());
  const Calibration read = Calibration::load(file());
  expect_equal(calibration_, read);
  EXPECT_EQ(read.statistics->sample, calibration_.statistics->sample);
  EXPECT_EQ(read.statistics->tokens, calibration_.statistics->tokens);
  for (size_t i = 0; i < read.statistics->post_covariance.size(); ++i)
    EXPECT_EQ(read.statistics->post_covariance[i], static_cast<float>(calibration_.statistics->post_covariance[i]));
}

TEST_F(CalibrationFile, KeepsTheProfile) {
  calibration_.profile = Profile{.layers = {"dense", "loki:index=pq:16,k=1/8"}, .about = "8 windows of a \"book\""};
  calibration_.save(file());
  const Calibration read = Calibration::load(file());
  ASSERT_TRUE(read.profile.has_value());
  EXPECT_EQ(read.profile->layers, calibration_.profile->layers);
  EXPECT_EQ(read.profile->about, calibration_.profile->about);
}

TEST_F(CalibrationFile, IsForOneModel) {
  EXPECT_NO_THROW(calibration_.require_model("a-model", "file"));
  EXPECT_THROW(calibration_.require_model("another", "file"), Error);
}

using Content = SafetensorsContent;

TEST_F(CalibrationFile, RefusesNumbersThatCannotBe) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  const auto kCorrupt = ErrorKind::kCorruptFile;
  expect_refused([&](Content& c) { put(c, "mean", 3 * kDims, nan); }, kCorrupt,
                 "'mean' of layer 1, KV head 1 holds nan");
  expect_refused([&](Content& c) { put(c, "post.key", 5, infinity); }, kCorrupt, "'post.key' of layer 0, KV head 0");
  expect_refused([&](Content& c) { put(c, "pre.spectrum", 1, 1e9f); }, kCorrupt, "rises");
  expect_refused([&](Content& c) { put(c, "balanced.variance", kDims, -1.f); }, kCorrupt, "must be >= 0");
  expect_refused([&](Content& c) { put(c, "post.ranks", 0, 17); }, kCorrupt, "must be 1 to 16");
  const int32_t first = calibration_.find_codebooks(BasisKind::kPost, 16)->order[0];
  expect_refused([&](Content& c) { put(c, "post.pq16.order", 1, first); }, kCorrupt, "twice");
  expect_refused([&](Content& c) { put(c, "pre.pq32.nibbles", 1, 0); }, kCorrupt, "must be 1 or more");
  expect_refused([&](Content& c) { put(c, "pre.pq32.nibbles", 0, 16); }, kCorrupt, "within 16");
  expect_refused([&](Content& c) { put(c, "pre.pq32.entries", 0, nan); }, kCorrupt, "must be finite");
}

TEST_F(CalibrationFile, RefusesBasesThatChangeScores) {
  const auto scale_row = [&](Content& c, const std::string& tensor) {
    const View view = own(c, tensor);
    for (int i = 0; i < kDims; ++i) view.f32()[i] *= 1.0001f;
  };
  expect_refused([&](Content& c) { scale_row(c, "post.key"); }, ErrorKind::kCorruptFile, "not orthogonal");
  expect_refused([&](Content& c) { scale_row(c, "balanced.query"); }, ErrorKind::kCorruptFile, "not the inverse");
  expect_refused([&](Content& c) { scale_row(c, "weighted.key"); }, ErrorKind::kCorruptFile, "not the inverse");
  expect_refused([&](Content& c) { scale_row(c, "content.key"); }, ErrorKind::kCorruptFile, "not orthogonal");
}

TEST_F(CalibrationFile, RefusesOtherShapes) {
  const auto kCorrupt = ErrorKind::kCorruptFile;
  expect_refused([](Content& c) { c.tensors.erase("pre.weight"); }, kCorrupt, "no tensor 'pre.weight'");
  expect_refused([](Content& c) { c.tensors["mean"].shape = {1, 4, kDims}; }, kCorrupt, "must be f32[2, 2, 16]");
  expect_refused([](Content& c) { c.tensors["mean"].dtype = DType::kI32; }, kCorrupt, "must be f32[2, 2, 16]");
  expect_refused([](Content& c) { c.tensors.erase("pre.pq16.entries"); }, kCorrupt, "rows a head");
  expect_refused([](Content& c) { c.tensors["pre.pq15.order"] = c.tensors["pre.pq16.order"]; }, kCorrupt, "multiple");
}

TEST_F(CalibrationFile, RefusesOtherWords) {
  const auto kCorrupt = ErrorKind::kCorruptFile;
  expect_refused([](Content& c) { c.metadata["format"] = "lowkey-calibration-9"; }, ErrorKind::kUnsupported, "format");
  expect_refused([](Content& c) { c.metadata.erase("format"); }, kCorrupt, "is it a calibration");
  expect_refused([](Content& c) { c.metadata["layers"] = "2x"; }, kCorrupt, "layers");
  expect_refused([](Content& c) { c.metadata["head_dim"] = "-16"; }, kCorrupt, "head_dim");
  expect_refused([](Content& c) { c.metadata["tokens"] = "99999999999999999999"; }, kCorrupt, "tokens");
  expect_refused([](Content& c) { c.metadata["texts"] = "[{}]"; }, kCorrupt, "texts");
  expect_refused([](Content& c) { c.metadata["texts"] = "["; }, kCorrupt, "texts");
  for (const char* profile :
       {"[", "{}", R"({"about": "", "layers": ["dense"]})", R"({"about": "", "layers": ["dense", 1]})",
        R"({"about": 1, "layers": ["dense", "dense"]})"})
    expect_refused([&](Content& c) { c.metadata["profile"] = profile; }, kCorrupt, "profile");
}

TEST(FitCalibration, IsTheSameOnAnyNumberOfThreads) {
  const KeyWorld world(1, 2, 8, 200);
  const auto fit = [&](int threads) {
    return fit_calibration(Context(threads), world.statistics(), {.codebook_bits = {16}}, nullptr);
  };
  expect_equal(fit(1), fit(3));
}

}  // namespace
}  // namespace lowkey
