#include "lab/input_spectra.h"

#include <algorithm>

#include "attention/dense.h"
#include "base/error.h"
#include "linalg/spectrum.h"
#include "ops/matmul.h"
#include "ops/transpose.h"

namespace lowkey {
namespace {

constexpr int64_t kChunk = 256;  // tokens a step

// Adds up products of what goes into the projections; one sequence, from its start.
class InputRecorder final : public Method {
 public:
  explicit InputRecorder(const AttentionShape& shape) : layers_(static_cast<size_t>(shape.layers)) {
    const auto width = static_cast<size_t>(shape.width);
    for (Sums& s : layers_) s.first.resize(width), s.products.resize(width * width);
  }

  bool bidirectional() const noexcept override { return true; }
  void project(const LayerStep& step, View x, const Qkv& qkv) const override {
    dense_.project(step, x, qkv);
    Sums& sums = layers_[static_cast<size_t>(step.layer)];
    const int64_t rows = x.rows(), width = x.columns();
    Scratch::Frame frame(step.context.scratch);
    const View across = frame.take_f32({width, rows}), products = frame.take_f32({width, width});
    transpose(step.context, {x, across});
    matmul(step.context, {across, across, products});
    for (int64_t c = 0; c < width; ++c)
      for (int64_t t = 0; t < rows; ++t) sums.first[static_cast<size_t>(c)] += across.f32_row(c)[t];
    for (size_t i = 0; i < sums.products.size(); ++i) sums.products[i] += products.f32()[i];
    sums.tokens += rows;
  }
  Selection select(const LayerStep& step, View q) const override { return dense_.select(step, q); }

  InputSpectrum spectrum(int layer) const {
    const Sums& sums = layers_[static_cast<size_t>(layer)];
    const size_t width = sums.first.size();
    std::vector<double> about_mean = sums.products;
    for (size_t i = 0; i < width; ++i)
      for (size_t j = 0; j < width; ++j)
        about_mean[i * width + j] -= sums.first[i] * sums.first[j] / static_cast<double>(sums.tokens);
    return {layer, sums.tokens, roots(sums.products, sums.tokens), roots(about_mean, sums.tokens)};
  }

 private:
  struct Sums {
    int64_t tokens = 0;
    std::vector<double> first;     // [C]
    std::vector<double> products;  // [C, C]
  };
  static std::vector<double> roots(const std::vector<double>& products, int64_t tokens) {
    std::vector<double> values = singular_values(products);
    values.resize(std::min(values.size(), static_cast<size_t>(tokens)));
    return values;
  }

  Dense dense_;
  mutable std::vector<Sums> layers_;  // [L]
};

}  // namespace

namespace {

void check(std::span<const int32_t> tokens, std::span<const int64_t> lengths) {
  LK_REQUIRE(!lengths.empty() && lengths[0] >= 1 && std::is_sorted(lengths.begin(), lengths.end()) &&
                 lengths.back() <= static_cast<int64_t>(tokens.size()),
             kInvalidArgument, "[input_spectra] lengths must ascend from 1 to the text's {} tokens", tokens.size());
}

}  // namespace

std::vector<InputSpectrum> input_spectra(const Context& context, const Model& model, std::span<const int32_t> tokens,
                                         std::span<const int64_t> lengths,
                                         const std::function<bool(int64_t)>& after_step) {
  check(tokens, lengths);
  const InputRecorder recorder(model.shape().attention);
  KvCache cache(kv_shape(model.shape(), recorder, DType::kF16, lengths.back()));
  const KvCache::SequenceId sequence = cache.open();
  std::vector<InputSpectrum> spectra;
  int64_t done = 0;
  for (int64_t length : lengths) {
    while (done < length) {
      const int64_t count = std::min(kChunk, length - done);
      LK_REQUIRE(cache.grow(sequence, count), kInternal, "[input_spectra] the cache is full");
      const StepSequence step{sequence, static_cast<int32_t>(count)};
      const auto piece = tokens.subspan(static_cast<size_t>(done), static_cast<size_t>(count));
      model.forward(context, recorder, cache, {piece, {&step, 1}, {}, {}});
      done += count;
      if (!after_step(done)) return spectra;
    }
    for (int layer = 0; layer < model.shape().attention.layers; ++layer) spectra.push_back(recorder.spectrum(layer));
  }
  return spectra;
}

std::vector<InputSpectrum> input_spectra(const Context& context, const Encoder& encoder,
                                         std::span<const int32_t> tokens, std::span<const int64_t> lengths) {
  check(tokens, lengths);
  const AttentionShape& shape = encoder.shape().attention;
  std::vector<InputSpectrum> spectra;
  for (int64_t length : lengths) {
    const InputRecorder recorder(shape);
    KvCache cache(encoder_kv_shape(encoder.shape(), recorder, DType::kF32, length));
    std::vector<float> hidden(static_cast<size_t>(length * shape.width));
    const auto count = static_cast<int32_t>(length);
    encoder.encode(context, recorder, cache,
                   {.tokens = tokens.first(static_cast<size_t>(length)), .counts = {&count, 1}},
                   f32_view(hidden.data(), {length, shape.width}));
    for (int layer = 0; layer < shape.layers; ++layer) spectra.push_back(recorder.spectrum(layer));
  }
  return spectra;
}

}  // namespace lowkey
