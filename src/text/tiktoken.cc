#include "text/tiktoken.h"

#include <algorithm>
#include <charconv>
#include <unordered_map>

#include "base/error.h"
#include "base/printable.h"
#include "text/base64.h"
#include "text/byte_alphabet.h"
#include "text/end_tokens.h"

namespace lowkey {
namespace {

constexpr size_t kLongestToken = 1024;  // bytes; Llama-3's longest has 128

using RankByToken = std::unordered_map<std::string_view, uint32_t>;

std::vector<std::string> read_ranks(std::string_view text, const std::string& source) {
  std::vector<std::string> tokens;
  while (!text.empty()) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    size_t space = line.find(' ');
    auto token = decode_base64(line.substr(0, space));
    size_t rank = 0;
    std::string_view number = space == line.npos ? "" : line.substr(space + 1);
    auto parsed = std::from_chars(number.data(), number.data() + number.size(), rank);
    LK_REQUIRE(token && !number.empty() && parsed.ec == std::errc() && parsed.ptr == number.data() + number.size() &&
                   rank == tokens.size() && token->size() <= kLongestToken,
               kCorruptFile, "[tokenizer] {}: line {}=\"{}\", must be BASE64 {} with at most {} bytes", source,
               tokens.size() + 1, printable(line), tokens.size(), kLongestToken);
    tokens.push_back(std::move(*token));
  }
  return tokens;
}

// tiktoken joins any two neighbours whose bytes together are a token: so every cut of a token into two tokens is a
// merge, and the ranks order them.
std::vector<std::string> derive_merges(const std::vector<std::string>& tokens, const RankByToken& ranks) {
  std::vector<std::string> merges;
  for (std::string_view token : tokens) {
    std::vector<std::pair<uint32_t, uint32_t>> cuts;
    for (size_t at = 1; at < token.size(); ++at) {
      auto left = ranks.find(token.substr(0, at)), right = ranks.find(token.substr(at));
      if (left != ranks.end() && right != ranks.end()) cuts.emplace_back(left->second, right->second);
    }
    std::sort(cuts.begin(), cuts.end());
    for (auto [left, right] : cuts)
      merges.push_back(to_byte_alphabet(tokens[left]) + ' ' + to_byte_alphabet(tokens[right]));
  }
  return merges;
}

std::vector<std::string> special_names() {
  std::vector<std::string> names = {"<|begin_of_text|>",
                                    "<|end_of_text|>",
                                    "<|reserved_special_token_0|>",
                                    "<|reserved_special_token_1|>",
                                    "<|finetune_right_pad_id|>",
                                    "<|reserved_special_token_2|>",
                                    "<|start_header_id|>",
                                    "<|end_header_id|>",
                                    "<|eom_id|>",
                                    "<|eot_id|>",
                                    "<|python_tag|>"};
  for (int i = 3; names.size() < 256; ++i) names.push_back(fmt::format("<|reserved_special_token_{}|>", i));
  return names;
}

}  // namespace

TokenizerSpec parse_tiktoken(std::string_view text, const std::string& source) {
  const std::vector<std::string> tokens = read_ranks(text, source);
  RankByToken ranks;
  for (size_t i = 0; i < tokens.size(); ++i)
    LK_REQUIRE(ranks.emplace(tokens[i], static_cast<uint32_t>(i)).second, kCorruptFile,
               "[tokenizer] {}: line {} has the token of line {} again, must be unique", source, i + 1,
               ranks[tokens[i]] + 1);
  TokenizerSpec spec;
  spec.source = source;
  spec.pretokenizer = Pretokenizer::kLlama3;
  spec.ignore_merges = true;
  spec.merges = derive_merges(tokens, ranks);
  for (const std::string& token : tokens) spec.tokens.push_back(to_byte_alphabet(token));
  spec.bos = static_cast<int32_t>(tokens.size());
  spec.eos = spec.bos + 1;
  spec.add_bos = true;
  for (std::string& name : special_names()) {
    spec.special.push_back(static_cast<int32_t>(spec.tokens.size()));
    spec.tokens.push_back(std::move(name));
  }
  spec.end_ids = find_end_ids(spec);
  return spec;
}

}  // namespace lowkey
