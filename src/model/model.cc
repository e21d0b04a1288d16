#include "model/model.h"

#include "model/checkpoint.h"
#include "model/llama.h"

namespace lowkey {

// Checkpoint refuses every architecture but llama, naming it; further families are told apart here.
std::unique_ptr<Model> open_model(const std::filesystem::path& path) {
  return std::make_unique<Llama>(Checkpoint::open(path));
}

KvShape kv_shape(const ModelShape& shape, const Method& method, DType dtype, int64_t max_tokens) {
  KvShape kv{.layers = shape.attention.layers,
             .kv_heads = shape.attention.kv_heads,
             .head_dim = shape.attention.head_dim,
             .dtype = dtype,
             .max_tokens = max_tokens,
             .plane_bytes = {}};
  kv.plane_bytes = method.planes(shape.attention, dtype, kv.page_tokens);
  return kv;
}

}  // namespace lowkey
