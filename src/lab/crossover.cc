#include "lab/crossover.h"

#include <algorithm>

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

AttentionSpec with_measured_minimum(const Context& context, const AttentionSpec& spec, const MethodInputs& inputs,
                                    DType kv_type) {
  const auto given = spec.settings.find("min");
  if (!has_measured_minimum(spec) || (given != spec.settings.end() && given->second != "auto")) return spec;
  AttentionSpec measured = spec;
  measured.settings["min"] = std::to_string(measure_crossover(context, spec, inputs, kv_type));
  return measured;
}

}  // namespace lowkey
