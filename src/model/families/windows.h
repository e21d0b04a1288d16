// What families share that say which of their layers read a sliding window only.
#pragma once

#include "model/hyperparameters.h"

namespace lowkey {

// All layers have a window of so many tokens but for every `period`-th (0: all have it), or as layer_types of a
// config.json or sliding_window_pattern of GGUF says. window 0, or no shorter than the context: none has,
// unless such layers have a RoPE of their own.
void set_windows(const Hyperparameters&, int64_t window, int period, ModelConfig&);

}  // namespace lowkey
