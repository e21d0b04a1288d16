#include "model/families/windows.h"

#include "base/error.h"

namespace lowkey {

void set_windows(const Hyperparameters& h, int64_t window, int period, ModelConfig& c) {
  const bool never = window >= c.context && c.rope.window_base == 0;
  if (window == 0 || never || c.layers < 1 || c.layers > 4096) return;
  for (int i = 0; i < c.layers; ++i) c.windows.push_back(period > 0 && (i + 1) % period == 0 ? 0 : window);
  if (h.config() == nullptr) {
    const std::vector<bool> windowed = h.flags("attention.sliding_window_pattern");
    if (std::ssize(windowed) != c.layers) return;  // a number there repeats what `period` says
    for (size_t i = 0; i < c.windows.size(); ++i) c.windows[i] = windowed[i] ? window : 0;
    return;
  }
  const nlohmann::json* types = h.config()->find("layer_types");
  if (types == nullptr) return;
  LK_REQUIRE(types->is_array() && std::ssize(*types) == c.layers, kCorruptFile,
             "[config] {}: layer_types, must be an array of {} words", h.source(), c.layers);
  for (size_t i = 0; i < c.windows.size(); ++i) c.windows[i] = (*types)[i] == "sliding_attention" ? window : 0;
}

}  // namespace lowkey
