#include "model/encoder.h"

#include "base/error.h"
#include "model/bert.h"
#include "model/checkpoint.h"
#include "model/config_fields.h"

namespace lowkey {
namespace {

namespace fs = std::filesystem;

constexpr int kPageTokens = 16;  // texts are short, and each begins a page

}  // namespace

bool is_encoder(const fs::path& path) {
  std::error_code failed;
  const fs::path config = path / "config.json";
  if (!fs::is_directory(path, failed) || !fs::exists(config, failed)) return false;
  try {
    return ConfigFields(read_text(config, kMaxConfigBytes), config.string()).word("model_type") == Bert::kFamily;
  } catch (const Error&) {
    return false;  // whoever opens it says what is wrong
  }
}

std::unique_ptr<Encoder> open_encoder(const fs::path& path, FilePlace place) {
  const fs::path config = path / "config.json";
  return std::make_unique<Bert>(parse_bert_config(read_text(config, kMaxConfigBytes), config.string()),
                                Safetensors::open(path, place));
}

KvShape encoder_kv_shape(const EncoderShape& shape, const Method& method, DType dtype, int64_t max_tokens) {
  KvShape kv{.layers = 1,
             .kv_heads = shape.attention.kv_heads,
             .head_dim = shape.attention.head_dim,
             .dtype = dtype,
             .page_tokens = kPageTokens,
             .max_tokens = max_tokens,
             .plane_bytes = {}};
  kv.plane_bytes = method.planes(shape.attention, dtype, kv.page_tokens);
  return kv;
}

void check_batch(const TextBatch& batch, const EncoderShape& shape) {
  int64_t total = 0;
  for (size_t b = 0; b < batch.counts.size(); ++b) {
    LK_REQUIRE(batch.counts[b] >= 1 && batch.counts[b] <= shape.context, kInvalidArgument,
               "[encode] text {} has {} tokens, must be 1 to {}", b, batch.counts[b], shape.context);
    total += batch.counts[b];
  }
  LK_REQUIRE(total > 0 && total == std::ssize(batch.tokens), kInvalidArgument,
             "[encode] {} tokens, but the texts count {}", batch.tokens.size(), total);
}

}  // namespace lowkey
