#include "lab/items.h"

#include <algorithm>
#include <chrono>
#include <optional>

#include "base/error.h"
#include "base/printable.h"
#include "lab/reader.h"

namespace lowkey {
namespace {

constexpr size_t kMostShown = 1000;  // bytes of what was said

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpaces = " \t\r\n";
  const size_t begin = text.find_first_not_of(kSpaces);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpaces) + 1 - begin);
}

// What stands before `stop`; spaces at the start do not count, so that an answer may begin on a line of its own.
std::string_view before_stop(std::string_view said, std::string_view stop) {
  const size_t begin = said.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos || stop.empty()) return said;
  return said.substr(0, said.find(stop, begin));
}

class Answerer {
 public:
  Answerer(const Context& context, const Model& model, const Tokenizer& tokenizer, const ItemOptions& options)
      : context_(context),
        model_(model),
        tokenizer_(tokenizer),
        options_(options),
        prefix_(context, model, options.kv_type, options.chunk) {}

  // Reads the item's context with dense attention.
  void open(const Item& item) {
    prefix_.read(item.context.empty() ? std::vector<int32_t>{} : encode(item.context, true),
                 [](int64_t) { return true; });
    prompt_ = encode(item.prompt, item.context.empty());
    LK_REQUIRE(!prompt_.empty(), kInvalidArgument, "[items] a prompt without tokens");
  }

  ItemResult answer(const Item& item, const Method& method) {
    const auto start = std::chrono::steady_clock::now();
    const Reader reader(context_, model_, method, options_.chunk);
    ItemResult result = item.choices.empty() ? say(item, method, reader) : choose(item, method, reader);
    result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return result;
  }

 private:
  std::vector<int32_t> encode(std::string_view text, bool bos) const {
    return tokenizer_.encode(text, {.add_bos = bos, .parse_special = false});
  }

  ItemResult choose(const Item& item, const Method& method, const Reader& reader) {
    std::vector<std::vector<int32_t>> choices;
    size_t longest = 0;
    for (const std::string& choice : item.choices) {
      choices.push_back(encode(choice, false));
      longest = std::max(longest, choices.back().size());
    }
    Branch branch = prefix_.fork(method, static_cast<int64_t>(prompt_.size() + longest));
    const std::vector<float> logits = reader.read(branch, prompt_);
    ItemResult result;
    std::vector<double> by_byte;
    for (size_t c = 0; c < choices.size(); ++c) {
      result.nll.push_back(reader.nll(branch, logits, choices[c]));
      by_byte.push_back(result.nll[c] / static_cast<double>(item.choices[c].size()));
    }
    const auto least = [](const std::vector<double>& x) {
      return static_cast<size_t>(std::min_element(x.begin(), x.end()) - x.begin());
    };
    result.chosen = least(result.nll), result.chosen_by_byte = least(by_byte);
    result.right = result.chosen == item.answer, result.right_by_byte = result.chosen_by_byte == item.answer;
    return result;
  }

  ItemResult say(const Item& item, const Method& method, const Reader& reader) {
    Branch branch = prefix_.fork(method, static_cast<int64_t>(prompt_.size()) + options_.most);
    ItemResult result;
    const std::string said =
        reader.say(tokenizer_, branch, reader.read(branch, prompt_), options_.most,
                   [&](const std::string& so_far) { return before_stop(so_far, item.stop).size() < so_far.size(); });
    result.right = result.right_by_byte = answers_item(item, said);
    result.said = printable(said, kMostShown);
    return result;
  }

  const Context& context_;
  const Model& model_;
  const Tokenizer& tokenizer_;
  const ItemOptions& options_;
  DensePrefix prefix_;
  std::vector<int32_t> prompt_;
};

}  // namespace

bool answers_item(const Item& item, std::string_view said) {
  const std::string_view answer = trimmed(before_stop(said, item.stop));
  return std::any_of(item.answers.begin(), item.answers.end(),
                     [&](const std::string& right) { return answer == trimmed(right); });
}

std::vector<std::vector<ItemResult>> answer_items(const Context& context, const Model& model,
                                                  const Tokenizer& tokenizer, std::span<const ComparedMethod> methods,
                                                  std::span<const Item> items, const ItemOptions& options,
                                                  const ItemProgress& progress, const Units<ItemResult>& units) {
  LK_REQUIRE(options.most >= 1 && options.chunk >= 1, kInvalidArgument, "[items] most={} chunk={}, must be >= 1",
             options.most, options.chunk);
  Answerer answerer(context, model, tokenizer, options);
  std::vector<std::vector<ItemResult>> results(methods.size());
  const auto total = static_cast<int64_t>(items.size() * methods.size());
  int64_t done = 0;
  for (size_t i = 0; i < items.size(); ++i) {
    bool open = false;
    for (size_t m = 0; m < methods.size(); ++m, ++done) {
      if (auto known = units.find(m, i)) {
        results[m].push_back(std::move(*known));
        continue;
      }
      if (!progress(done, total, methods[m].name)) return results;
      if (!open) answerer.open(items[i]);
      open = true;
      results[m].push_back(answerer.answer(items[i], *methods[m].method));
      units.keep(m, i, results[m].back());
    }
  }
  return results;
}

}  // namespace lowkey
