#include "lab/items.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "attention/spec.h"
#include "base/error.h"
#include "lab/agreement.h"
#include "lab/replay.h"
#include "model/tokenizer_loader.h"

namespace lowkey {
namespace {

const std::filesystem::path& folder() {
  static const auto path = std::filesystem::path(LOWKEY_SOURCE_DIR) / "tests/data/tiny-llama3";
  return path;
}
const Model& tiny_model() {
  static const auto model = open_model(folder());
  return *model;
}
const Tokenizer& tokenizer() {
  static const Tokenizer tokenizer = load_tokenizer(folder());
  return tokenizer;
}

std::string refusal(std::string_view line) {
  try {
    parse_items(line, "x.jsonl");
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kCorruptFile);
    return error.what();
  }
  return "";
}

TEST(Items, AreReadFromJsonLines) {
  const auto items = parse_items(
      "{\"prompt\": \"a\", \"choices\": [\" x\", \" y\"], \"answer\": 1}\n\n"
      "{\"prompt\": \"a\", \"choices\": [\" x\", \" y\"], \"answer\": \" x\", \"context\": \"long\"}\r\n"
      "{\"prompt\": \"b\", \"answer\": [\"4\", \"four\"], \"stop\": \".\"}\n"
      "{\"prompt\": \"b\", \"answer\": \"4\"}",
      "x.jsonl");
  ASSERT_EQ(items.size(), 4u);
  EXPECT_EQ(items[0].answer, 1u);
  EXPECT_EQ(items[1].answer, 0u);
  EXPECT_EQ(items[1].context, "long");
  EXPECT_EQ(items[2].answers, (std::vector<std::string>{"4", "four"}));
  EXPECT_EQ(items[2].stop, ".");
  EXPECT_EQ(items[3].stop, "\n");
}

TEST(Items, RefusalsNameTheLineAndTheRule) {
  EXPECT_NE(refusal("{\"prompt\": \"a\", \"answer\": \"b\"}\n[1]").find("x.jsonl: line 2"), std::string::npos);
  EXPECT_NE(refusal("{\"prompt\": \"\", \"answer\": \"b\"}").find("no prompt"), std::string::npos);
  EXPECT_NE(refusal("{\"prompt\": \"a\"}").find("no answer"), std::string::npos);
  EXPECT_NE(refusal("{\"prompt\": \"a\", \"answer\": 1}").find("must be"), std::string::npos);
  EXPECT_NE(refusal("{\"prompt\": \"a\", \"answer\": 0, \"choices\": [\"x\"]}").find("two"), std::string::npos);
  EXPECT_NE(refusal("{\"prompt\": \"a\", \"answer\": 2, \"choices\": [\"x\", \"y\"]}").find("index"),
            std::string::npos);
  EXPECT_NE(refusal("{\"prompt\": \"a\", \"answer\": -1, \"choices\": [\"x\", \"y\"]}").find("index"),
            std::string::npos);
  EXPECT_NE(refusal("{\"prompt\": \"a\", \"answer\": \"z\", \"choices\": [\"x\", \"y\"]}").find("index"),
            std::string::npos);
  EXPECT_NE(refusal("{\"prompt\": \"a\", \"anwser\": \"z\"}").find("anwser"), std::string::npos);
  EXPECT_NE(refusal("{\"prompt\"").find("line 1"), std::string::npos);
}

TEST(Items, AnAnswerIsWhatStandsBeforeTheStop) {
  const Item item{.prompt = "?", .answers = {"four", " 4 "}};
  EXPECT_TRUE(answers_item(item, " 4\nmore"));
  EXPECT_TRUE(answers_item(item, "\n four"));
  EXPECT_FALSE(answers_item(item, " 4 or so\n"));
  EXPECT_FALSE(answers_item(item, ""));
  EXPECT_TRUE(answers_item({.prompt = "?", .answers = {"4"}, .stop = "."}, " 4. Yes"));
}

std::vector<std::vector<ItemResult>> answer(const std::vector<std::string>& specs, const std::vector<Item>& items,
                                            const Units<ItemResult>& units = {}) {
  std::vector<std::unique_ptr<Method>> made;
  std::vector<ComparedMethod> methods;
  for (const std::string& text : specs) {
    made.push_back(make_method(with_every_row(parse_attention_spec(text)), {.shape = tiny_model().shape().attention}));
    methods.push_back({.name = text, .method = made.back().get(), .always = {}});
  }
  return answer_items(
      Context(2), tiny_model(), tokenizer(), methods, items, {.most = 5, .chunk = 16, .kv_type = DType::kF32},
      [](int64_t, int64_t, std::string_view) { return true; }, units);
}

// Of the last text's tokens, all texts in one pass.
double nll_in_one_pass(const std::vector<std::string>& texts) {
  std::vector<int32_t> ids;
  size_t first = 0;
  for (const std::string& text : texts) {
    const auto tokens = tokenizer().encode(text, {.add_bos = ids.empty(), .parse_special = false});
    first = ids.size();
    ids.insert(ids.end(), tokens.begin(), tokens.end());
  }
  const Context context(1);
  const auto dense = make_method(parse_attention_spec("dense"), {});
  const auto rows = static_cast<int64_t>(ids.size());
  const auto vocabulary = static_cast<size_t>(tiny_model().shape().vocabulary);
  std::vector<float> logits(ids.size() * vocabulary);
  Branch branch(kv_shape(tiny_model().shape(), *dense, DType::kF32, rows));
  advance(context, tiny_model(), *dense, branch, ids, f32_view(logits.data(), {rows, tiny_model().shape().vocabulary}));
  double nll = 0;
  for (size_t i = first; i < ids.size(); ++i)
    nll -= log_likelihood(std::span(logits).subspan((i - 1) * vocabulary, vocabulary), ids[i]);
  return nll;
}

TEST(Items, LikelihoodsAreThoseOfOnePass) {
  const std::vector<Item> items{
      {.prompt = "A question of forty characters or so, no?",
       .choices = {" yes", " certainly not", " no"},
       .answer = 1},
      {.context = "Once upon a time ", .prompt = "there was", .choices = {" a", " another one"}, .answer = 0}};
  const auto results = answer({"dense", "topk:k=all"}, items)[0];
  for (size_t i = 0; i < items.size(); ++i)
    for (size_t c = 0; c < items[i].choices.size(); ++c) {
      // Sums of at most 64 logits of f32 arithmetic in another order.
      std::vector<std::string> texts{items[i].prompt, items[i].choices[c]};
      if (!items[i].context.empty()) texts.insert(texts.begin(), items[i].context);
      const double one = nll_in_one_pass(texts);
      EXPECT_NEAR(results[i].nll[c], one, 64 * 64 * 1.2e-7 * std::abs(one)) << i << " " << c;
    }
  for (const ItemResult& r : results) {
    EXPECT_EQ(r.nll[r.chosen], *std::min_element(r.nll.begin(), r.nll.end()));
    EXPECT_EQ(r.right, r.chosen == items[static_cast<size_t>(&r - results.data())].answer);
  }
}

TEST(Items, LongChoicesAreJudgedByTheByteToo) {
  // The second begins with the first: it can only be less likely, but need not be by the byte.
  const std::vector<Item> items{{.prompt = "abc", .choices = {" a", " a a a a a a a a a a a a"}, .answer = 0}};
  const ItemResult r = answer({"dense"}, items)[0][0];
  EXPECT_EQ(r.chosen, 0u);
  EXPECT_EQ(r.chosen_by_byte, r.nll[1] / 24 < r.nll[0] / 2 ? 1u : 0u);
}

TEST(Items, WhatIsSaidIsGreedyAndTheSameFromALongContext) {
  const std::string text = "Some text to go on from, of more than a chunk of tokens.";
  const std::vector<Item> items{
      {.prompt = text, .answers = {"?"}, .stop = ""},
      {.context = text.substr(0, 30), .prompt = text.substr(30), .answers = {"?"}, .stop = ""}};
  const auto results = answer({"dense", "h2o:heavy=all"}, items);
  EXPECT_FALSE(results[0][0].said.empty());
  EXPECT_EQ(results[0][0].said, results[1][0].said);
  EXPECT_EQ(results[1][0].said, results[0][0].said);
  EXPECT_FALSE(results[0][0].right);
}

TEST(Items, KnownResultsAreNotMeasuredAgain) {
  const std::vector<Item> items{{.prompt = "a", .choices = {" x", " y"}}, {.prompt = "b", .choices = {" x", " y"}}};
  int kept = 0;
  const Units<ItemResult> units{.known = [](size_t m, size_t u) -> std::optional<ItemResult> {
                                  if (m == 0 && u == 1) return ItemResult{.said = "known"};
                                  return std::nullopt;
                                },
                                .done = [&](size_t, size_t, const ItemResult&) { ++kept; }};
  const auto results = answer({"dense", "topk"}, items, units);
  EXPECT_EQ(kept, 3);
  EXPECT_EQ(results[0][1].said, "known");
  EXPECT_EQ(results[1][1].said, "");
}

}  // namespace
}  // namespace lowkey
