#include <limits>

#include "bad_files/bad_file.h"
#include "bad_files/tiny_model.h"

namespace lowkey {
namespace {

constexpr ErrorKind kCorrupt = ErrorKind::kCorruptFile;
constexpr ErrorKind kUnsupported = ErrorKind::kUnsupported;

BadFile model(const std::string& name, const std::string& words, const std::function<void(TinyModel&)>& spoil,
              ErrorKind kind = kCorrupt) {
  const auto write = [spoil](const TestFolder& folder) {
    TinyModel tiny;
    spoil(tiny);
    tiny.write_gguf(folder / "model.gguf");
  };
  return {"model, " + name, write, "model.gguf", "model.gguf", words, kind};
}

BadFile shaped(const std::string& tensor, const std::vector<int64_t>& shape) {
  return model("another shape of " + tensor, tensor, [=](TinyModel& m) { m.shapes[tensor] = shape; });
}

}  // namespace

std::vector<BadFile> bad_gguf_models() {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  return {
      model("no layers", "layers", [](TinyModel& m) { m.config.layers = 0; }),
      model(
          "a layer too many", "blk.1.", [](TinyModel& m) { m.config.layers = 2; }, ErrorKind::kNotFound),
      model("2^31 layers", "layers", [](TinyModel& m) { m.config.layers = -2147483647; }),
      model("no heads", "heads", [](TinyModel& m) { m.config.heads = 0; }),
      model("more heads than the tensors have", "blk.0.attn_q.weight", [](TinyModel& m) { m.config.heads = 4; }),
      model("more kv heads than heads", "kv_heads=4", [](TinyModel& m) { m.config.kv_heads = 4; }),
      model("another head_dim", "blk.0.attn_q.weight",
            [](TinyModel& m) { m.config.head_dim = m.config.rope.dims = 32; }),
      model(
          "an odd head_dim", "head_dim=15", [](TinyModel& m) { m.config.head_dim = 15; }, kUnsupported),
      model("epsilon is NaN", "epsilon", [](TinyModel& m) { m.config.norm_epsilon = kNan; }),
      model("rope base is NaN", "rope base", [](TinyModel& m) { m.config.rope.base = kNan; }),
      model("rope base 0", "rope base", [](TinyModel& m) { m.config.rope.base = 0; }),
      model("rope factor -1", "rope factor",
            [](TinyModel& m) { m.config.rope.scaling = RopeScaling::kLinear, m.config.rope.factor = -1; }),
      model("context 0", "context", [](TinyModel& m) { m.config.context = 0; }),
      model("no embedding", "token_embd.weight", [](TinyModel& m) { m.shapes.erase("token_embd.weight"); }),
      model(
          "no norm", "output_norm.weight", [](TinyModel& m) { m.shapes.erase("output_norm.weight"); },
          ErrorKind::kNotFound),
      model("rope factors of 0", "rope_freqs.weight holds 0",
            [](TinyModel& m) { m.shapes["rope_freqs.weight"] = {8}; }),
      model("fewer rows than tokens", "tokenizer.ggml.tokens has 258",
            [](TinyModel& m) { m.shapes["token_embd.weight"] = {200, 32}; }),
      model(
          "integers for weights", "blk.0.ffn_up.weight",
          [](TinyModel& m) { m.types["blk.0.ffn_up.weight"] = DType::kI32; }, kUnsupported),
      model(
          "integers for a norm", "output_norm.weight", [](TinyModel& m) { m.types["output_norm.weight"] = DType::kI8; },
          kUnsupported),
      model("a merge of unknown tokens", "merge", [](TinyModel& m) { m.tokenizer.merges = {"no such"}; }),
      model("bos beyond the tokens", "bos", [](TinyModel& m) { m.tokenizer.bos = 100000; }),
      model("a byte without token", "byte", [](TinyModel& m) { m.tokenizer.tokens[97] = "aaa"; }),
      shaped("token_embd.weight", {kTinyVocabulary * 32}),
      shaped("blk.0.attn_k.weight", {32, 32}),
      shaped("blk.0.attn_output.weight", {32, 64}),
      shaped("blk.0.ffn_down.weight", {64, 32}),
      shaped("blk.0.attn_norm.weight", {16}),
      shaped("rope_freqs.weight", {3}),
  };
}

}  // namespace lowkey
