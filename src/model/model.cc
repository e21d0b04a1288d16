#include "model/model.h"

#include "base/error.h"
#include "model/checkpoint.h"
#include "model/decoder.h"
#include "model/encoder.h"

namespace lowkey {

// Checkpoint refuses families that are not known, naming all that are.
std::unique_ptr<Model> open_model(const std::filesystem::path& path, FilePlace place) {
  LK_REQUIRE(!is_encoder(path), kUnsupported,
             "[model] {}: an encoder, which generates no text; run, inspect and tokenize take it", path.string());
  return std::make_unique<Decoder>(Checkpoint::open(path, place));
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
