#include "model/rope_config.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"
#include "base/printable.h"
#include "model/hyperparameters.h"

namespace lowkey {
namespace {

constexpr int64_t kMostReach = int64_t{1} << 30;
constexpr double kYarnFast = 32, kYarnSlow = 1;  // turns, as the paper has them

std::vector<float> read_divisors(const ConfigFields& rope, const char* key) {
  const nlohmann::json* list = rope.find(key);
  if (list == nullptr) return {};
  LK_REQUIRE(list->is_array(), kCorruptFile, "[config] {}: {} is a {}, must be an array", rope.source(), key,
             list->type_name());
  std::vector<float> divisors;
  for (const auto& value : *list) {
    LK_REQUIRE(value.is_number(), kCorruptFile, "[config] {}: {} holds a {}, must hold numbers", rope.source(), key,
               value.type_name());
    divisors.push_back(value.get<float>());
  }
  return divisors;
}

double growth(int64_t context, int64_t original) {
  return original < 1 ? 1 : static_cast<double>(context) / static_cast<double>(original);
}

void parse_yarn(const ConfigFields& fields, int64_t context, RopeConfig& rope) {
  const auto positive = [&](const char* key, double otherwise) {  // 0 and null count as missing
    const double value = fields.number(key, 0);
    return value == 0 ? otherwise : value;
  };
  rope.factor = fields.number("factor", growth(context, rope.original_context));
  rope.high = positive("beta_fast", kYarnFast);
  rope.low = positive("beta_slow", kYarnSlow);
  rope.truncate = fields.flag("truncate", true);
  const double computed = yarn_amplitude(rope.factor, fields.number("mscale", 0), fields.number("mscale_all_dim", 0));
  rope.amplitude = static_cast<float>(fields.number("attention_factor", computed));
}

void parse_longrope(const ConfigFields& fields, int64_t context, RopeConfig& rope) {
  rope.divisors = read_divisors(fields, "long_factor");
  rope.short_divisors = read_divisors(fields, "short_factor");
  // Lets scores grow with the context (Phi-3).
  const double grown = growth(context, rope.original_context);
  const double computed =
      grown <= 1 ? 1 : std::sqrt(1 + std::log(grown) / std::log(static_cast<double>(rope.original_context)));
  rope.amplitude = static_cast<float>(fields.number("attention_factor", computed));
}

void parse_scaling(const ConfigFields& file, const char* key, int64_t context, RopeConfig& rope) {
  const auto fields = file.object(key);
  if (!fields) return;
  std::string kind = fields->word("rope_type");
  if (kind.empty()) kind = fields->word("type");
  if (kind.empty() || kind == "default") return;
  constexpr std::pair<std::string_view, RopeScaling> kKinds[] = {{"linear", RopeScaling::kLinear},
                                                                 {"llama3", RopeScaling::kLlama3},
                                                                 {"yarn", RopeScaling::kYarn},
                                                                 {"longrope", RopeScaling::kLongRope},
                                                                 {"su", RopeScaling::kLongRope}};
  const auto* found =
      std::find_if(std::begin(kKinds), std::end(kKinds), [&](const auto& k) { return k.first == kind; });
  LK_REQUIRE(found != std::end(kKinds), kUnsupported,
             "[config] {}: {} of type '{}', must be linear, llama3, yarn or longrope", file.source(), key,
             printable(kind));
  rope.scaling = found->second;
  rope.original_context =
      file.integer("original_max_position_embeddings", fields->integer("original_max_position_embeddings", context));
  if (rope.scaling == RopeScaling::kYarn) return parse_yarn(*fields, context, rope);
  if (rope.scaling == RopeScaling::kLongRope) return parse_longrope(*fields, context, rope);
  rope.factor = fields->number("factor", 1.0);
  rope.low = fields->number("low_freq_factor", 1.0);
  rope.high = fields->number("high_freq_factor", 4.0);
}

// llama.cpp's keys. A file that names no kind may have a factor, of linear scaling then; longrope is known by its
// tensors, whose numbers Checkpoint reads.
void read_gguf_scaling(const Hyperparameters& h, int64_t context, RopeConfig& rope) {
  const std::string kind = h.word(nullptr, "rope.scaling.type");
  constexpr std::string_view kKinds[] = {"", "none", "linear", "longrope", "yarn"};
  LK_REQUIRE(std::find(std::begin(kKinds), std::end(kKinds), kind) != std::end(kKinds), kUnsupported,
             "[config] {}: rope.scaling.type '{}', must be none, linear, yarn or longrope", h.source(),
             printable(kind));
  const double factor = h.number(nullptr, "rope.scaling.factor", h.number(nullptr, "rope.scale_linear", 1));
  rope.original_context = h.integer(nullptr, "rope.scaling.original_context_length", 0);
  const double amplitude = h.number(nullptr, "rope.scaling.attn_factor", 1);
  if (kind == "yarn") {
    rope.scaling = RopeScaling::kYarn;
    rope.factor = factor;
    if (rope.original_context == 0) rope.original_context = context;
    rope.high = h.number(nullptr, "rope.scaling.yarn_beta_fast", kYarnFast);
    rope.low = h.number(nullptr, "rope.scaling.yarn_beta_slow", kYarnSlow);
    const double of_all = h.number(nullptr, "rope.scaling.yarn_log_multiplier", 0);
    const double stretched = h.number(nullptr, "rope.scaling.yarn_attn_factor", yarn_amplitude(factor, 1, of_all));
    rope.amplitude = static_cast<float>(amplitude * stretched);
  } else if (h.gguf()->find("rope_factors_long.weight") != nullptr) {
    rope.scaling = RopeScaling::kLongRope;
    rope.amplitude = static_cast<float>(amplitude);
  } else if (kind == "linear" || (kind.empty() && factor != 1)) {
    rope.scaling = RopeScaling::kLinear;
    rope.factor = factor;
  }
}

// f of pair i under YaRN: as it is for pairs of many turns, divided by the factor for those of few, and a ramp between.
double yarn_frequency(const RopeConfig& c, double f, size_t i) {
  const auto pair_of = [&](double turns) {  // whose frequency makes so many over the original context
    const double original = static_cast<double>(c.original_context);
    return c.dims * std::log(original / (turns * 2 * std::numbers::pi)) / (2 * std::log(c.base));
  };
  double first = pair_of(c.high), last = pair_of(c.low);
  if (c.truncate) first = std::floor(first), last = std::ceil(last);
  first = std::max(first, 0.0), last = std::min(last, c.dims - 1.0);
  if (first == last) last += 0.001;
  const double slowed = std::clamp((static_cast<double>(i) - first) / (last - first), 0.0, 1.0);
  return f / c.factor * slowed + f * (1 - slowed);
}

}  // namespace

const char* name(RopeScaling scaling) noexcept {
  switch (scaling) {
    case RopeScaling::kNone:
      return "none";
    case RopeScaling::kLinear:
      return "linear";
    case RopeScaling::kLlama3:
      return "llama3";
    case RopeScaling::kYarn:
      return "yarn";
    case RopeScaling::kLongRope:
      return "longrope";
  }
  return "";
}

int64_t RopeConfig::reach() const noexcept {
  const double stretched = factor * static_cast<double>(original_context);
  return scaling == RopeScaling::kYarn && stretched > 0 && stretched <= kMostReach ? static_cast<int64_t>(stretched)
                                                                                   : 0;
}

void read_scaling(const Hyperparameters& h, int64_t context, RopeConfig& rope) {
  if (h.config() == nullptr) return read_gguf_scaling(h, context, rope);
  for (const char* key : kRopeObjects) parse_scaling(*h.config(), key, context, rope);
}

double yarn_amplitude(double factor, double weight, double weight_of_all) {
  const auto grown = [&](double by) { return factor <= 1 ? 1 : 0.1 * by * std::log(factor) + 1; };
  return weight != 0 && weight_of_all != 0 ? grown(weight) / grown(weight_of_all) : grown(1);
}

std::vector<float> inverse_frequencies(const RopeConfig& c, RopeReach reach) {
  const bool own_base = reach == RopeReach::kWindow && c.window_base > 0;
  const RopeScaling scaling = own_base ? RopeScaling::kNone : c.scaling;
  const std::vector<float>& divisors = reach == RopeReach::kShort ? c.short_divisors : c.divisors;
  std::vector<float> result(static_cast<size_t>(c.dims / 2));
  for (size_t i = 0; i < result.size(); ++i) {
    double f = std::pow(own_base ? c.window_base : c.base, -2.0 * static_cast<double>(i) / c.dims);
    if (!divisors.empty() && !own_base) f /= divisors[i];
    if (scaling == RopeScaling::kLinear) f /= c.factor;
    if (scaling == RopeScaling::kYarn) f = yarn_frequency(c, f, i);
    if (scaling == RopeScaling::kLlama3) {
      // Turns over the original context: many keep their frequency, few are slowed, between is blended.
      const double turns = static_cast<double>(c.original_context) * f / (2 * std::numbers::pi);
      const double keep = std::clamp((turns - c.low) / (c.high - c.low), 0.0, 1.0);
      f = keep * f + (1 - keep) * f / c.factor;
    }
    result[i] = static_cast<float>(f);
  }
  return result;
}

}  // namespace lowkey
