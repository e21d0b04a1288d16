// Mistral (Jiang et al. 2023): Llama with a sliding window.
#include "model/families/llama.h"
#include "model/families/windows.h"

namespace lowkey {
namespace {

void configure(const Hyperparameters& h, ModelConfig& c) {
  configure_llama(h, c);
  set_windows(h, h.integer("sliding_window", nullptr, 0), 0, c);
}

}  // namespace

const Family kMistral = {
    .model_type = "mistral", .architecture = "llama", .gguf_layout = RopeLayout::kInterleaved, .configure = configure};

}  // namespace lowkey
