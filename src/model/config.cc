#include "model/config.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/printable.h"
#include "model/hyperparameters.h"

namespace lowkey {
namespace {

// Without the scaling. config.json has rope_theta and partial_rotary_factor at its top level, inside the object of the
// scaling, or both.
void parse_rope(const Hyperparameters& h, ModelConfig& c) {
  double part = h.number("partial_rotary_factor", nullptr, 1);
  c.rope.base = h.number("rope_theta", nullptr, c.rope.base);
  for (const char* key : kRopeObjects) {
    const auto rope = h.config()->object(key);
    if (!rope) continue;
    c.rope.base = rope->number("rope_theta", c.rope.base);
    part = rope->number("partial_rotary_factor", part);
  }
  LK_REQUIRE(part > 0 && part <= 1, kCorruptFile, "[config] {}: partial_rotary_factor={}, must be > 0 and <= 1",
             h.source(), part);
  c.rope.dims = static_cast<int>(c.head_dim * part);
}

void read_rope(const Hyperparameters& h, ModelConfig& c) {
  c.rope.layout = c.family->gguf_layout;
  c.rope.dims = h.size(nullptr, "rope.dimension_count", c.head_dim);
  c.rope.base = h.number(nullptr, "rope.freq_base", c.rope.base);
}

void read_vocabulary(const Gguf& file, ModelConfig& c) {
  const View* table = file.find("token_embd.weight");
  LK_REQUIRE(table != nullptr && table->rank == 2, kCorruptFile,
             "[config] {}: token_embd.weight is missing or not a matrix", file.path());
  c.vocabulary = narrow(table->dim(0));
  if (const auto* tokens = file.texts("tokenizer.ggml.tokens"))
    LK_REQUIRE(static_cast<int64_t>(tokens->size()) <= table->dim(0), kCorruptFile,
               "[config] {}: tokenizer.ggml.tokens has {}, must be <= {}, the rows of token_embd.weight", file.path(),
               tokens->size(), table->dim(0));
  c.tied = file.find("output.weight") == nullptr;
}

void read_activation(const Hyperparameters& h, ModelConfig& c) {
  constexpr std::pair<std::string_view, Activation> kNames[] = {{"silu", Activation::kSilu},
                                                                {"gelu", Activation::kGelu},
                                                                {"gelu_new", Activation::kGeluTanh},
                                                                {"gelu_fast", Activation::kGeluTanh},
                                                                {"gelu_pytorch_tanh", Activation::kGeluTanh}};
  const std::string word = h.word("hidden_act", nullptr);
  if (word.empty()) return;
  const bool silu = c.activation == Activation::kSilu;
  const auto* found =
      std::find_if(std::begin(kNames), std::end(kNames), [&](const auto& n) { return n.first == word; });
  LK_REQUIRE(found != std::end(kNames) && (found->second == Activation::kSilu) == silu, kUnsupported,
             "[config] {}: hidden_act '{}', must be {}", h.source(), printable(word), silu ? "silu" : "a form of gelu");
  c.activation = found->second;
}

ModelConfig read(const Hyperparameters& h, const Family& family) {
  ModelConfig c;
  c.family = &family;
  c.layers = h.size("num_hidden_layers", "block_count", 0);
  c.width = h.size("hidden_size", "embedding_length", 0);
  c.heads = h.size("num_attention_heads", "attention.head_count", 0);
  c.kv_heads = h.size("num_key_value_heads", "attention.head_count_kv", c.heads);
  c.head_dim = h.size("head_dim", "attention.key_length", c.heads > 0 ? c.width / c.heads : 0);
  const int64_t value_length = h.integer(nullptr, "attention.value_length", c.head_dim);
  LK_REQUIRE(value_length == c.head_dim, kUnsupported, "[config] {}: value_length={}, must equal key_length={}",
             h.source(), value_length, c.head_dim);
  c.ffn = h.size("intermediate_size", "feed_forward_length", 0);
  c.context = h.integer("max_position_embeddings", "context_length", h.config() ? 2048 : 0);
  if (h.config()) {
    c.vocabulary = h.size("vocab_size", nullptr, 0);
  } else {
    read_vocabulary(*h.gguf(), c);
  }
  read_scaling(h, c.context, c.rope);
  c.context = std::max(c.context, c.rope.reach());
  const bool tied = c.tied;
  family.configure(h, c);
  c.tied = h.config() ? h.flag("tie_word_embeddings", nullptr, c.tied) : tied;
  c.norm_epsilon =
      static_cast<float>(c.norm == NormKind::kRms ? h.number("rms_norm_eps", "attention.layer_norm_rms_epsilon", 1e-6)
                                                  : h.number("layer_norm_eps", "attention.layer_norm_epsilon", 1e-5));
  read_activation(h, c);
  if (!c.learned_positions) h.config() ? parse_rope(h, c) : read_rope(h, c);
  check(c, h.source());
  return c;
}

}  // namespace

ModelConfig parse_config(std::string_view config_json, const std::string& source) {
  ConfigFields fields(config_json, source);
  const Family& family = family_of_model_type(fields.word("model_type"), source);
  return read(Hyperparameters(std::move(fields), family), family);
}

ModelConfig read_config(const Gguf& file) {
  const Family& family = family_of_architecture(file.text("general.architecture", ""), file.path());
  return read(Hyperparameters(file, family), family);
}

namespace {

class Checker {
 public:
  Checker(const ModelConfig& config, const std::string& source) : c_(config), source_(source) {}

  void shape() const {
    in_range("layers", c_.layers, 4096);
    in_range("width", c_.width, 1 << 20);
    in_range("heads", c_.heads, 1 << 14);
    in_range("kv_heads", c_.kv_heads, c_.heads);
    in_range("head_dim", c_.head_dim, 4096);
    in_range("ffn", c_.ffn, 1 << 24);
    in_range("vocabulary", c_.vocabulary, 1 << 24);
    in_range("context", c_.context, int64_t{1} << 30);
    LK_REQUIRE(c_.heads % c_.kv_heads == 0, kCorruptFile, "[config] {}: heads={}, must be a multiple of kv_heads={}",
               source_, c_.heads, c_.kv_heads);
    LK_REQUIRE(c_.head_dim % 8 == 0, kUnsupported, "[config] {}: head_dim={}, must be a multiple of 8", source_,
               c_.head_dim);
    LK_REQUIRE(std::isfinite(c_.norm_epsilon) && c_.norm_epsilon >= 0 && c_.norm_epsilon < 1, kCorruptFile,
               "[config] {}: norm epsilon={}, must be 0 to 1", source_, c_.norm_epsilon);
  }

  void rope() const {
    const RopeConfig& r = c_.rope;
    LK_REQUIRE(r.dims >= 0 && r.dims <= c_.head_dim && r.dims % 2 == 0 && (r.dims > 0 || c_.learned_positions),
               kCorruptFile, "[config] {}: RoPE of {} dimensions, must be even and 2 to head_dim={}", source_, r.dims,
               c_.head_dim);
    LK_REQUIRE(r.dims == c_.head_dim || r.layout == RopeLayout::kHalf, kUnsupported,
               "[config] {}: rope.dimension_count={}, must equal key_length={}", source_, r.dims, c_.head_dim);
    LK_REQUIRE(std::isfinite(r.base) && r.base >= 1, kCorruptFile, "[config] {}: rope base={}, must be >= 1", source_,
               r.base);
    LK_REQUIRE(std::isfinite(r.window_base) && (r.window_base == 0 || r.window_base >= 1), kCorruptFile,
               "[config] {}: rope base of layers with a window={}, must be >= 1", source_, r.window_base);
    LK_REQUIRE(std::isfinite(r.factor) && r.factor > 0, kCorruptFile, "[config] {}: rope factor={}, must be > 0",
               source_, r.factor);
    if (r.scaling == RopeScaling::kLlama3 || r.scaling == RopeScaling::kYarn) {
      const bool yarn = r.scaling == RopeScaling::kYarn;
      LK_REQUIRE(r.low > 0 && r.high > r.low && std::isfinite(r.high), kCorruptFile,
                 "[config] {}: {}={} {}={}, must be 0 < low < high", source_, yarn ? "beta_slow" : "low_freq_factor",
                 r.low, yarn ? "beta_fast" : "high_freq_factor", r.high);
      LK_REQUIRE(!yarn || r.base > 1, kCorruptFile, "[config] {}: rope base={}, must be > 1 under yarn", source_,
                 r.base);
    }
    if (r.scaling >= RopeScaling::kLlama3)
      in_range("original_max_position_embeddings", r.original_context, int64_t{1} << 30);
    LK_REQUIRE(std::isfinite(r.amplitude) && r.amplitude > 0, kCorruptFile,
               "[config] {}: attention factor={}, must be > 0", source_, r.amplitude);
    for (const auto& divisors : {r.divisors, r.short_divisors}) {
      LK_REQUIRE(divisors.empty() || std::ssize(divisors) == r.dims / 2, kCorruptFile,
                 "[config] {}: {} rope factors, must be {}", source_, divisors.size(), r.dims / 2);
      for (float d : divisors)
        LK_REQUIRE(std::isfinite(d) && d > 0, kCorruptFile, "[config] {}: rope factors hold {}, must be finite and > 0",
                   source_, d);
    }
  }

  void form() const {
    LK_REQUIRE(c_.windows.empty() || std::ssize(c_.windows) == c_.layers, kCorruptFile,
               "[config] {}: windows of {} layers, must be {}", source_, c_.windows.size(), c_.layers);
    for (int64_t window : c_.windows)
      if (window != 0) in_range("sliding_window", window, int64_t{1} << 30);
    if (c_.experts != 0) {
      in_range("experts", c_.experts, 1024);
      in_range("experts of a token", c_.experts_used, c_.experts);
      if (c_.expert_ffn != 0) in_range("ffn of an expert", c_.expert_ffn, 1 << 24);
    }
    const std::pair<const char*, float> scales[] = {{"attention scale", c_.attention_scale},
                                                    {"attention soft cap", c_.attention_cap},
                                                    {"logit soft cap", c_.logit_cap},
                                                    {"embedding scale", c_.embedding_scale}};
    for (const auto& [name, value] : scales)
      LK_REQUIRE(std::isfinite(value) && value >= 0, kCorruptFile, "[config] {}: {}={}, must be >= 0", source_, name,
                 value);
  }

 private:
  void in_range(const char* field, int64_t value, int64_t most) const {
    LK_REQUIRE(value >= 1 && value <= most, kCorruptFile, "[config] {}: {}={}, must be 1 to {}", source_, field, value,
               most);
  }

  const ModelConfig& c_;
  const std::string& source_;
};

}  // namespace

void check(const ModelConfig& c, const std::string& source) {
  const Checker checker(c, source);
  checker.shape();
  checker.rope();
  checker.form();
}

}  // namespace lowkey
