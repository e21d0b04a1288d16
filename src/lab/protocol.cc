#include "lab/protocol.h"

#include "attention/selective.h"
#include "attention/settings.h"
#include "base/error.h"

namespace lowkey {
namespace {

void fix(AttentionSpec& spec, std::string_view key, const Amount& otherwise, int64_t block) {
  if (!has_setting(spec, key)) return;
  const Amount amount = Settings(spec).amount(key, otherwise, 0);
  if (amount.count == 0 && amount.fraction > 0) spec.settings[std::string(key)] = std::to_string(amount.of(block));
}

// Budgets that are not given are the methods' own.
AttentionSpec with_block_budgets(AttentionSpec spec, int64_t block) {
  const bool paper = Settings(spec).text("form") == "paper";
  fix(spec, "k", paper ? part(0.25) : SelectiveOptions{}.k, block);
  fix(spec, "kmin", tokens(0), block);
  const bool evicts = has_setting(spec, "heavy");
  fix(spec, "heavy", part(0.125), block);
  fix(spec, "recent", evicts ? part(0.125) : tokens(0), block);
  if (spec.cache) spec.cache = std::make_shared<AttentionSpec>(with_block_budgets(*spec.cache, block));
  return spec;
}

}  // namespace

Protocol parse_protocol(std::string_view word) {
  if (word == "decode") return Protocol::kDecode;
  LK_REQUIRE(word == "block", kInvalidArgument, "--protocol '{}', must be decode or block", word);
  return Protocol::kBlock;
}

AttentionSpec judged_spec(const AttentionSpec& given, Protocol protocol, int64_t block) {
  AttentionSpec spec = with_every_row(given);
  if (has_measured_minimum(spec)) spec.settings.emplace("min", "0");  // the method itself is measured, not its gate
  return protocol == Protocol::kBlock ? with_block_budgets(std::move(spec), block) : spec;
}

}  // namespace lowkey
