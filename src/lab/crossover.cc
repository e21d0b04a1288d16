#include "lab/crossover.h"

#include <algorithm>
#include <map>

#include "attention/calibration.h"
#include "lab/layer_bench.h"

namespace lowkey {
namespace {

constexpr int64_t kShortest = 4096;  // below, a part of the tokens is soon too few of them
constexpr int kRepetitions = 3;

double fastest(LayerBench& bench, int64_t length) {
  double best = bench.decode(length).total;
  for (int i = 1; i < kRepetitions; ++i) best = std::min(best, bench.decode(length).total);
  return best;
}

}  // namespace

int64_t measure_crossover(const Context& context, const AttentionSpec& spec, const MethodInputs& inputs, DType kv_type,
                          int64_t longest) {
  AttentionShape layer = inputs.shape;
  layer.layers = 1;
  AttentionSpec always = spec;
  always.settings["min"] = "0";
  always.cache = nullptr;  // steps of a method that evicts cannot be repeated
  const auto method = make_method(always, inputs), everything = make_method(parse_attention_spec("dense"), inputs);
  const KvShape kv{.layers = 1,
                   .kv_heads = layer.kv_heads,
                   .head_dim = layer.head_dim,
                   .dtype = kv_type,
                   .max_tokens = longest,
                   .plane_bytes = {}};
  LayerBench selecting(context, *method, layer, kv, longest), reading(context, *everything, layer, kv, longest);
  int64_t crossover = 2 * longest;
  for (int64_t length = longest; length >= kShortest; length /= 2) {
    if (fastest(selecting, length) > 0.97 * fastest(reading, length)) break;
    crossover = length;
  }
  return crossover;
}

namespace {

// What is timed for a spec: of a profile the method that most layers have, but for those that read everything.
AttentionSpec timed(const AttentionSpec& spec, const MethodInputs& inputs) {
  if (spec.name != "auto" || inputs.calibration == nullptr || !inputs.calibration->profile) return spec;
  std::map<std::string, int> layers;
  for (const std::string& text : inputs.calibration->profile->layers)
    if (text != "dense") ++layers[text];
  if (layers.empty()) return parse_attention_spec("dense");
  const auto fewer = [](const auto& a, const auto& b) { return a.second < b.second; };
  return parse_attention_spec(std::max_element(layers.begin(), layers.end(), fewer)->first);
}

}  // namespace

AttentionSpec with_measured_minimum(const Context& context, const AttentionSpec& spec, const MethodInputs& inputs,
                                    DType kv_type) {
  const auto given = spec.settings.find("min");
  if (!has_measured_minimum(spec) || (given != spec.settings.end() && given->second != "auto")) return spec;
  const AttentionSpec subject = timed(spec, inputs);
  if (!has_measured_minimum(subject)) return spec;
  AttentionSpec measured = spec;
  measured.settings["min"] = std::to_string(measure_crossover(context, subject, inputs, kv_type));
  return measured;
}

}  // namespace lowkey
