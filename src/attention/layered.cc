#include "attention/layered.h"

#include <algorithm>
#include <map>

#include "attention/calibration.h"
#include "attention/spec.h"
#include "base/error.h"

namespace lowkey {

Layered::Layered(std::vector<std::shared_ptr<const Method>> layers) : layers_(std::move(layers)) {
  for (size_t l = 0; l < layers_.size(); ++l)
    LK_REQUIRE(!layers_[l]->evicts(), kInvalidArgument,
               "[auto] the method of layer {} evicts, which layers cannot do apart", l);
}

std::unique_ptr<Method> Layered::make(const AttentionSpec& spec, const MethodInputs& inputs) {
  const bool there = inputs.calibration != nullptr && inputs.calibration->profile.has_value();
  LK_REQUIRE(there, kInvalidArgument, "[auto] needs a calibration with a profile: lowkey tune makes one");
  const std::vector<std::string>& texts = inputs.calibration->profile->layers;
  LK_REQUIRE(static_cast<int>(texts.size()) >= inputs.shape.layers, kInvalidArgument,
             "[auto] the profile has {} layers, the model {}", texts.size(), inputs.shape.layers);
  std::map<std::string, std::shared_ptr<const Method>> made;
  std::vector<std::shared_ptr<const Method>> layers;
  for (int l = 0; l < inputs.shape.layers; ++l) {
    AttentionSpec layer = parse_attention_spec(texts[static_cast<size_t>(l)]);
    LK_REQUIRE(layer.name != spec.name, kInvalidArgument, "[auto] layer {} of the profile says auto again", l);
    for (const auto& [key, value] : spec.settings)
      if (has_setting(layer, key)) layer.settings.insert_or_assign(key, value);
    std::shared_ptr<const Method>& method = made[layer.text()];
    if (!method) method = make_method(layer, inputs);
    layers.push_back(method);
  }
  return std::make_unique<Layered>(std::move(layers));
}

// As much room as the layer that needs most: a cache has pages of one size.
std::vector<int64_t> Layered::planes(const AttentionShape& shape, DType kv_type, int page_tokens) const {
  std::vector<int64_t> most;
  for (const auto& method : layers_) {
    const std::vector<int64_t> bytes = method->planes(shape, kv_type, page_tokens);
    most.resize(std::max(most.size(), bytes.size()));
    for (size_t p = 0; p < bytes.size(); ++p) most[p] = std::max(most[p], bytes[p]);
  }
  return most;
}

bool Layered::replays() const noexcept {
  return std::all_of(layers_.begin(), layers_.end(), [](const auto& method) { return method->replays(); });
}

}  // namespace lowkey
