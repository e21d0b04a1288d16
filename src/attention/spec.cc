#include "attention/spec.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <initializer_list>
#include <vector>

#include "attention/atp.h"
#include "attention/dense.h"
#include "attention/exact_topk.h"
#include "attention/h2o.h"
#include "attention/layered.h"
#include "attention/loki.h"
#include "attention/loki_atp.h"
#include "attention/quest.h"
#include "attention/sparq.h"
#include "attention/streaming.h"
#include "base/error.h"

namespace lowkey {
namespace {

using Make = std::unique_ptr<Method> (*)(const AttentionSpec&, const MethodInputs&);

struct Entry {
  std::string_view name;
  bool selective;    // has kSelectiveKeys too
  bool calibration;  // needs one
  bool follows;      // may come after '+'
  std::initializer_list<std::string_view> keys;
  Make make;
};

template <typename M>
std::unique_ptr<Method> make(const AttentionSpec& spec, const MethodInputs&) {
  return M::make(spec);
}

// Every method that exists, with the keys it understands.
const Entry kMethods[] = {
    {"dense",
     false,
     false,
     false,
     {},
     [](const AttentionSpec&, const MethodInputs&) -> std::unique_ptr<Method> { return std::make_unique<Dense>(); }},
    {"auto", false, true, false, {"min", "prefill"}, Layered::make},
    {"atp",
     false,
     false,
     true,
     {"form", "r", "basis", "bits", "within", "sink", "recent", "chunk", "min", "linear"},
     Atp::make},
    {"loki", true, true, false, {"form", "d", "index", "basis", "rope"}, Loki::make},
    {"h2o",
     false,
     false,
     true,
     {"heavy", "recent", "form", "prefill"},
     [](const AttentionSpec& spec, const MethodInputs&) { return H2o::make(spec, nullptr); }},
    {"topk", true, false, false, {"heads"}, make<ExactTopk>},
    {"quest", true, false, false, {"page"}, make<Quest>},
    {"sparq", true, false, false, {"r", "score", "mean"}, Sparq::make},
    {"streaming", false, false, false, {"sink", "recent", "prefill"}, make<Streaming>},
};

const Entry& find_method(std::string_view name) {
  const auto* found =
      std::find_if(std::begin(kMethods), std::end(kMethods), [&](const Entry& e) { return e.name == name; });
  if (found == std::end(kMethods)) {
    std::string known;
    for (const Entry& e : kMethods) known += (known.empty() ? "" : ", ") + std::string(e.name);
    throw Error(ErrorKind::kInvalidArgument, fmt::format("[attention] method '{}' is unknown; known: {}", name, known));
  }
  return *found;
}

std::vector<std::string_view> keys_of(const Entry& method) {
  std::vector<std::string_view> keys(method.keys);
  if (method.selective) keys.insert(keys.end(), std::begin(kSelectiveKeys), std::end(kSelectiveKeys));
  return keys;
}

bool has_key(const Entry& method, std::string_view key) {
  const std::vector<std::string_view> known = keys_of(method);
  return std::find(known.begin(), known.end(), key) != known.end();
}

void check_key(const Entry& method, std::string_view key) {
  const std::vector<std::string_view> known = keys_of(method);
  if (has_key(method, key)) return;
  throw Error(ErrorKind::kInvalidArgument,
              fmt::format("[attention] {} has no setting '{}'; it has: {}", method.name, key,
                          known.empty() ? "none" : fmt::format("{}", fmt::join(known, ", "))));
}

}  // namespace

std::string AttentionSpec::text() const {
  std::string result = name;
  char separator = ':';
  for (const auto& [key, value] : settings) {
    result += separator + key + '=' + value;
    separator = ',';
  }
  return cache ? result + '+' + cache->text() : result;
}

AttentionSpec parse_attention_spec(std::string_view text) {
  if (const size_t plus = text.find('+'); plus != std::string_view::npos) {
    AttentionSpec spec = parse_attention_spec(text.substr(0, plus));
    auto cache = std::make_shared<AttentionSpec>(parse_attention_spec(text.substr(plus + 1)));
    LK_REQUIRE(find_method(cache->name).follows && !cache->cache && spec.name != "h2o", kInvalidArgument,
               "[attention] '{}': one h2o, or atp:form=factor, can follow a method after '+'", text);
    spec.cache = std::move(cache);
    return spec;
  }
  const size_t colon = text.find(':');
  AttentionSpec spec{.name = std::string(text.substr(0, colon)), .settings = {}};
  const Entry& method = find_method(spec.name);
  std::string_view rest = colon == std::string_view::npos ? std::string_view{} : text.substr(colon + 1);
  LK_REQUIRE(colon == std::string_view::npos || !rest.empty(), kInvalidArgument, "[attention] nothing after '{}:'",
             spec.name);
  while (!rest.empty()) {
    const size_t comma = rest.find(',');
    const std::string_view item = rest.substr(0, comma);
    const size_t equals = item.find('=');
    LK_REQUIRE(equals != std::string_view::npos && equals > 0 && equals + 1 < item.size(), kInvalidArgument,
               "[attention] '{}' in '{}', must be KEY=VALUE", item, text);
    const std::string key(item.substr(0, equals));
    check_key(method, key);
    LK_REQUIRE(spec.settings.emplace(key, item.substr(equals + 1)).second, kInvalidArgument,
               "[attention] '{}' is given twice in '{}'", key, text);
    rest = comma == std::string_view::npos ? std::string_view{} : rest.substr(comma + 1);
  }
  return spec;
}

bool has_setting(const AttentionSpec& spec, std::string_view key) { return has_key(find_method(spec.name), key); }

bool needs_calibration(const AttentionSpec& spec) { return find_method(spec.name).calibration; }

bool has_measured_minimum(const AttentionSpec& spec) {
  const auto form = spec.settings.find("form");
  if (spec.name == "auto") return true;
  return spec.name == "loki" && (form == spec.settings.end() || form->second != "paper");
}

AttentionSpec with_every_row(AttentionSpec spec) {
  // What h2o keeps is run a token at a time, once the prompt has been read.
  if (spec.name == "h2o" || (spec.cache && spec.cache->name == "h2o")) return spec;
  if (has_setting(spec, "prefill")) spec.settings["prefill"] = "all";
  return spec;
}

namespace {

// What h2o needs of the method above it: side data that moves with its rows, one list for all heads of a group, keys as
// they are.
void check_above_cache(const AttentionSpec& spec) {
  const auto is = [&](const char* key, std::string_view word) {
    const auto found = spec.settings.find(key);
    return found != spec.settings.end() && found->second == word;
  };
  LK_REQUIRE(spec.name != "quest", kInvalidArgument,
             "[attention] quest bounds blocks of neighbours, and h2o moves tokens: they do not go together");
  LK_REQUIRE(spec.name != "atp", kInvalidArgument,
             "[attention] atp brings old tokens into a form of its own, and h2o moves them: they do not go together");
  LK_REQUIRE(!is("form", "paper") && !is("heads", "query"), kInvalidArgument,
             "[attention] '{}' selects for each query head; above h2o a method selects for the whole group",
             spec.text());
}

// What does not go with a model some of whose layers have a window, or whose scores are capped: short forms of old
// tokens and rows that move, means of all values, and shares of a softmax that is not the model's.
void check_model(const AttentionSpec& spec, const AttentionShape& shape) {
  const auto setting = [&](const char* key) {
    const auto found = spec.settings.find(key);
    return found == spec.settings.end() ? std::string_view{} : std::string_view(found->second);
  };
  const bool means = spec.name == "sparq" && setting("mean") != "off";
  const bool never = find_method(spec.name).follows || means;
  const char* instead = means ? "; sparq:mean=off does" : "";
  LK_REQUIRE(shape.window == 0 || !never, kInvalidArgument,
             "[attention] '{}' does not go with a model whose layers have a sliding window, of {} tokens{}",
             spec.text(), shape.window, instead);
  LK_REQUIRE(shape.score_cap == 0 || (!never && setting("p").empty()), kInvalidArgument,
             "[attention] '{}' does not go with a model whose scores are capped, at {}{}", spec.text(), shape.score_cap,
             instead);
}

}  // namespace

std::unique_ptr<Method> make_method(const AttentionSpec& spec, const MethodInputs& inputs) {
  check_model(spec, inputs.shape);
  if (spec.cache) check_model(*spec.cache, inputs.shape);
  if (spec.cache && spec.cache->name == "atp") return LokiAtp::make(spec, inputs);
  if (spec.cache) check_above_cache(spec);
  std::unique_ptr<Method> method = find_method(spec.name).make(spec, inputs);
  return spec.cache ? H2o::make(*spec.cache, std::move(method)) : std::move(method);
}

}  // namespace lowkey
