// lowkey tokenize: text to ids on one line, ids back to text.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <charconv>
#include <cstdio>

#include "apps/cli/options.h"
#include "apps/cli/verbs.h"
#include "base/error.h"
#include "model/tokenizer_loader.h"

namespace lowkey::cli {
namespace {

struct TokenizeOptions {
  std::string model;
  PromptOptions prompt;
  std::vector<std::string> decode;
  bool no_bos = false;
  bool no_special = false;
};

// "1,2 3" -> 1 2 3
std::vector<int32_t> parse_ids(const std::vector<std::string>& words) {
  std::vector<int32_t> ids;
  for (const std::string& word : words) {
    const char* at = word.data();
    const char* end = at + word.size();
    while (at < end) {
      if (*at == ',' || *at == ' ' || *at == '\n') {
        ++at;
        continue;
      }
      int32_t id = 0;
      const auto [next, error] = std::from_chars(at, end, id);
      LK_REQUIRE(error == std::errc(), kInvalidArgument, "--decode '{}': not a list of token ids", word);
      ids.push_back(id);
      at = next;
    }
  }
  return ids;
}

void run(const TokenizeOptions& o) {
  const Tokenizer tokenizer = load_tokenizer(o.model);
  if (!o.decode.empty()) {
    const std::string text = tokenizer.decode(parse_ids(o.decode), /*with_special=*/!o.no_special);
    std::fwrite(text.data(), 1, text.size(), stdout);
    return;
  }
  const auto ids = tokenizer.encode(prompt_text(o.prompt), {.add_bos = !o.no_bos, .parse_special = !o.no_special});
  fmt::print("{}\n", fmt::join(ids, " "));
}

}  // namespace

void add_tokenize(CLI::App& app) {
  auto options = std::make_shared<TokenizeOptions>();
  CLI::App* verb = app.add_subcommand("tokenize", "text to token ids, or ids back to text");
  verb->add_option("MODEL", options->model, "a .gguf file or a Hugging Face folder")->required();
  add_prompt(*verb, options->prompt);
  verb->add_option("--decode", options->decode, "ids to turn into text: 1 2 3 or 1,2,3");
  verb->add_flag("--no-bos", options->no_bos, "no beginning-of-text token, or [CLS] and [SEP], around the text");
  verb->add_flag("--no-special", options->no_special, "'<|...|>' in the text is plain text; special ids print nothing");
  verb->callback([options] { run(*options); });
}

}  // namespace lowkey::cli
