#include "apps/cli/inspect_encoder.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/printable.h"
#include "model/sentence.h"
#include "model/tokenizer_loader.h"

namespace lowkey::cli {

void inspect_encoder(const std::string& model, bool json, bool tensors) {
  const auto encoder = open_encoder(model);
  const Tokenizer tokenizer = load_tokenizer(model);
  const SentenceRules rules = read_sentence_rules(model);
  const AttentionShape& a = encoder->shape().attention;
  constexpr const char* kKinds[] = {"one of them", "each by itself", "values"};
  nlohmann::json facts{{"model", model},
                       {"architecture", "bert"},
                       {"layers", a.layers},
                       {"width", a.width},
                       {"heads", a.heads},
                       {"head_dim", a.head_dim},
                       {"vocabulary", encoder->shape().vocabulary},
                       {"context", encoder->shape().context},
                       {"weight_bytes", encoder->weight_bytes()},
                       {"tokenizer_tokens", tokenizer.vocabulary_size()},
                       {"pool", name(rules.pool)},
                       {"normalised", rules.normalise}};
  if (rules.max_tokens > 0) facts["max_tokens"] = rules.max_tokens;
  const Classes& classes = encoder->classes();
  if (!classes.labels.empty())
    facts["classes"] = classes.labels, facts["classes_hold"] = kKinds[static_cast<int>(classes.kind)];
  constexpr auto kReplace = nlohmann::json::error_handler_t::replace;
  if (json) {
    facts["tensors"] = encoder->describe();
    fmt::print("{}\n", facts.dump(2, ' ', false, kReplace));
    return;
  }
  for (const auto& [key, value] : facts.items())
    fmt::print("{:<26} {}\n", key,
               printable(value.is_string() ? value.get<std::string>() : value.dump(-1, ' ', false, kReplace)));
  if (!tensors) return;
  fmt::print("\ntensors\n");
  for (const std::string& line : encoder->describe()) fmt::print("  {}\n", printable(line));
}

}  // namespace lowkey::cli
