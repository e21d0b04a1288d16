#include "text/added_tokens.h"

#include <algorithm>
#include <charconv>
#include <map>

namespace lowkey {
namespace {

// "bos_token": "<s>" or {"content": "<s>", ...} or null.
int32_t named_token(const JsonField& field, const TokenizerSpec& spec, int32_t otherwise) {
  if (field.missing()) return otherwise;
  const JsonField name = field.is_text() ? field : field["content"];
  const int32_t id = find_token(spec, name.text());
  if (id == -1) name.corrupt("must be in the vocabulary");
  return id;
}

}  // namespace

int32_t find_token(const TokenizerSpec& spec, std::string_view text) {
  const auto found = std::find(spec.tokens.begin(), spec.tokens.end(), text);
  return found == spec.tokens.end() || text.empty() ? -1 : static_cast<int32_t>(found - spec.tokens.begin());
}

void read_flags(const JsonField& token, int32_t id, TokenizerSpec* spec) {
  (token["special"].boolean(false) ? spec->special : spec->added).push_back(id);
  if (token["normalized"].boolean(true)) spec->late.push_back(id);
  if (token["lstrip"].boolean(false)) spec->takes_left.push_back(id);
  if (token["rstrip"].boolean(false)) spec->takes_right.push_back(id);
  if (token["single_word"].boolean(false)) spec->whole_words.push_back(id);
}

void read_added_decoder(const JsonField& decoder, TokenizerSpec* spec) {
  if (decoder.missing()) return;
  std::map<int64_t, std::string> keys;  // ascending by id, not by digits
  for (const auto& [key, token] : decoder.object().items()) {
    int64_t id = -1;
    const auto parsed = std::from_chars(key.data(), key.data() + key.size(), id);
    if (parsed.ec != std::errc() || parsed.ptr != key.data() + key.size() || id < 0)
      decoder[key].corrupt("must have a whole number for its name");
    keys.emplace(id, key);
  }
  for (auto* ids : {&spec->special, &spec->added, &spec->late})  // to be said anew
    std::erase_if(*ids, [&](int32_t id) { return keys.contains(id); });
  const size_t late = spec->late.size();
  for (const auto& [id, key] : keys) {
    const JsonField token = decoder[key];
    const std::string& content = token["content"].text();
    if (id > std::ssize(spec->tokens)) token.corrupt("must follow the token before it");
    if (id == std::ssize(spec->tokens)) {
      spec->tokens.push_back(content);
      if (spec->sentencepiece) spec->sentencepiece->scores.push_back(0);
    }
    const auto at = static_cast<int32_t>(id);
    if (spec->tokens[at] != content) token["content"].corrupt("must be as in the vocabulary");
    read_flags(token, at, spec);
  }
  spec->late.resize(late);
}

void read_bos_and_eos(const JsonField& config, TokenizerSpec* spec) {
  spec->bos = named_token(config["bos_token"], *spec, spec->bos);
  spec->eos = named_token(config["eos_token"], *spec, spec->eos);
  spec->add_bos = config["add_bos_token"].boolean(spec->add_bos);
  spec->add_eos = config["add_eos_token"].boolean(spec->add_eos);
  if (spec->add_bos && spec->bos == -1) config["bos_token"].corrupt("must be there when add_bos_token is true");
  if (spec->add_eos && spec->eos == -1) config["eos_token"].corrupt("must be there when add_eos_token is true");
}

}  // namespace lowkey
