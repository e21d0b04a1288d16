// What Qwen3's models with and without experts have in common.
#pragma once

#include "model/hyperparameters.h"

namespace lowkey {

void configure_qwen3(const Hyperparameters&, ModelConfig&);

}  // namespace lowkey
