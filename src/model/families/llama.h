// What Mistral and Mixtral have in common with Llama.
#pragma once

#include "model/hyperparameters.h"

namespace lowkey {

void configure_llama(const Hyperparameters&, ModelConfig&);

}  // namespace lowkey
