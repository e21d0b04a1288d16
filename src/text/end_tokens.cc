#include "text/end_tokens.h"

#include <algorithm>
#include <array>

namespace lowkey {
namespace {

// Files name only one eos, but chat models end a turn with another token.
constexpr std::array<std::string_view, 9> kEndNames = {
    "<|end_of_text|>", "<|endoftext|>",         "<|eot_id|>", "<|eom_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>",
    "<|end_of_turn|>", "<|END_OF_TURN_TOKEN|>",
};

}  // namespace

std::vector<int32_t> find_end_ids(const TokenizerSpec& spec) {
  std::vector<int32_t> ids = spec.end_ids;
  if (spec.eos != -1) ids.push_back(spec.eos);
  for (int32_t id : spec.special)
    if (std::find(kEndNames.begin(), kEndNames.end(), spec.tokens[id]) != kEndNames.end()) ids.push_back(id);
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

}  // namespace lowkey
