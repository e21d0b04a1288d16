// The page of small results: what is in it, what is made safe, and what is refused.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "apps/cli/report/html.h"
#include "apps/cli/report/json_reader.h"
#include "apps/cli/report/page.h"
#include "apps/cli/report/page_parts.h"
#include "apps/cli/report/report_page.h"
#include "apps/cli/report/spec_labels.h"
#include "base/error.h"

namespace lowkey::cli {
namespace {

using nlohmann::json;

constexpr const char* kEval = R"({
 "model": "m.gguf", "text": "books.txt", "kv_type": "f16", "isa": "avx2", "threads": 2, "shape": {"head_dim": 64},
 "agreement": {"context": 8192, "scored": 512, "results": [
  {"attention": "dense", "kl": {"mean": 0, "low": 0, "high": 0}, "same_top": 1, "observed": {"share_read": 1,
   "index_bytes_per_token": 0, "recall": 1, "layers": [{"recall": 1}, {"recall": 1}]}},
  {"attention": "loki:k=1/8,index=pq:64,min=0", "kl": {"mean": 0.004, "low": 0.003, "high": 0.005,
   "bootstrap": {"low": 0.0035, "high": 0.0045}}, "perplexity": 25.5, "dense_perplexity": 25.25,
   "perplexity_increase_percent": {"mean": 0.75, "low": 0.5, "high": 1.0}, "same_top": 0.96,
   "observed": {"tokens_read": 1024, "share_read": 0.125, "index_bytes_per_token": 8, "recall": 0.7, "jaccard": 0.5,
    "mass": 0.9, "layers": [{"recall": 0.61, "mass": 0.91, "heads": [{"recall": 0.51}, {"recall": 0.71}]},
     {"recall": 0.79, "mass": 0.89, "heads": [{"recall": 0.78}, {"recall": null}]}]}},
  {"attention": "loki:k=1/16,index=pq:64,min=0", "kl": {"mean": 0.008, "low": null, "high": null}, "same_top": 0.94,
   "observed": {"share_read": 0.0625, "index_bytes_per_token": 8}},
  {"attention": "loki:k=1/16,index=pq:128,min=0", "kl": {"mean": 0.006, "low": 0.005, "high": 0.007},
   "observed": {"share_read": 0.0625, "index_bytes_per_token": 16}}]},
 "results": [{"attention": "dense", "perplexity": 20, "windows": 3, "context": 2048, "window_nll": [3, 3, 3]},
  {"attention": "loki:k=1/8,index=pq:64,min=0", "perplexity": 21, "windows": 3, "context": 2048}],
 "needle": {"context": 4096, "results": [{"attention": "loki:k=1/8,index=pq:64,min=0", "nll": 0.1, "questions": [
  {"context": 4096, "depth": 0.25, "found": true, "seconds": 1}, {"context": 4096, "depth": 0.75, "found": false},
  {"context": 8192, "depth": 0.25, "found": true}, {"context": 8192, "depth": 0.25, "found": false}]}]},
 "rank": {"post": {"50%": [[3, 5], [4, 4]], "90%": [[20, 30], [40, 50]], "spectrum": [[[3, 1], [1, 1]]],
  "entropy": [[0.5, 0.7]], "effective_rank": [[2, 4]]}, "pre": {"90%": [[10, 10], [10, 10]]}},
 "choice": {"items": 4, "results": [{"attention": "dense", "items": 4, "accuracy": {"mean": 0.75, "low": 0.5,
  "high": 1}}]}})";

constexpr const char* kBench = R"({"bench": "attention", "heads": 32, "threads": 2, "results": [
 {"attention": "dense", "context": 8192, "microseconds": 1000, "score_microseconds": 0, "select_microseconds": 0,
  "attend_microseconds": 1000, "append_microseconds": 1, "score_bytes": 0, "attend_bytes": 4000000},
 {"attention": "loki:min=0", "context": 8192, "microseconds": 250, "score_microseconds": 100,
  "select_microseconds": 50, "attend_microseconds": 90, "append_microseconds": 10, "score_bytes": 500000,
  "attend_bytes": 500000},
 {"attention": "dense", "context": 32768, "microseconds": 4000, "score_microseconds": 0},
 {"attention": "loki:min=0", "context": 32768, "microseconds": 800, "score_microseconds": 400}]})";

constexpr const char* kTune = R"({"for": "bytes", "max_loss": 0.005, "context": 8192, "best_trial": 1,
 "candidates": ["dense", "loki:index=pq:64,k=1/4", "loki:index=pq:64,k=1/8", "loki:index=pq:64,k=3/16"],
 "uniform": [{"bytes": 8e6, "kl": 0}, {"bytes": 2e6, "kl": 0.001, "perplexity_increase_percent": {"mean": 0.125}},
  {"bytes": 1e6, "kl": 0.002}, {"bytes": 1.5e6, "kl": 0.0015}],
 "sensitivity_kl": [[0, 0.0004, 0.0009], [0, 0.0001, 0.0002]], "layers": ["loki:index=pq:64,k=1/4", "dense"],
 "trials": [{"bytes": 5e6, "kl": 0.0001, "layers": [0, 1]}, {"bytes": 1.25e6, "kl": 0.0011, "layers": [1, 0]}],
 "best_uniform": "loki:index=pq:64,k=1/4", "checked": {"bytes": 1.25e6, "kl": 0.0012,
  "perplexity_increase_percent": {"mean": 0.25, "low": 0.1, "high": 0.4}}, "uniform_checked": {"bytes": 2e6}})";

std::string page_of(const std::vector<std::pair<std::string, std::string>>& files) {
  std::vector<RunFacts> runs;
  for (const auto& [name, text] : files) runs.push_back(read_run(name, text));
  return report_page(runs);
}

// What the page says without its scripts, which is what is left without JavaScript.
std::string still(const std::string& page) {
  const size_t data = page.find("<script type=\"application/json\"");
  return page.substr(0, data);
}

json data_of(const std::string& page) {
  const std::string open = "<script type=\"application/json\" id=\"data\">";
  const size_t begin = page.find(open) + open.size();
  return json::parse(page.substr(begin, page.find("</script>", begin) - begin));
}

int count(const std::string& text, const std::string& word) {
  int found = 0;
  for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++found;
  return found;
}

void expect_has(const std::string& text, const std::string& words) {
  EXPECT_NE(text.find(words), std::string::npos) << words;
}

const json& chart_named(const json& data, const std::string& title) {
  static const json kNone;
  for (const json& chart : data["charts"])
    if (chart["title"] == title) return chart;
  ADD_FAILURE() << "no chart " << title;
  return kNone;
}

void expect_refused(const std::string& text, const std::string& words) {
  try {
    read_run("results.json", text);
    ADD_FAILURE() << text << " was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kCorruptFile);  // exit code 1
    const std::string message = error.what();
    EXPECT_EQ(message.rfind("[report] results.json: ", 0), 0U) << message;
    EXPECT_NE(message.find(words), std::string::npos) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  }
}

TEST(Html, NothingOfATextIsMarkup) {
  EXPECT_EQ(escape_html("<b a=\"1\" c='2'>&amp;</b>"), "&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;amp;&lt;/b&gt;");
}

TEST(Html, DataCannotEndItsScript) {
  const json data{{"</script><!--", "<!-- <script> ]]>"}};
  const std::string safe = script_safe(data.dump());
  EXPECT_EQ(safe.find('<'), std::string::npos) << safe;
  EXPECT_EQ(json::parse(safe), data);
}

TEST(Html, NumbersAreShownAsTheyAreSure) {
  EXPECT_EQ(shown(0.12345, 3), "0.123");
  EXPECT_EQ(shown(kMissing, 3), "\u2013");
  EXPECT_EQ(shown_sign(0.5, 1), "+0.5");
  EXPECT_EQ(shown_short(0.0030712), "0.00307");
  EXPECT_EQ(shown_short(12.345), "12.3");
  EXPECT_EQ(shown_tokens(16384), "16k");
  EXPECT_EQ(shown_tokens(1000), "1000");
  EXPECT_EQ(range_of(1, kMissing, 2), "\u2013");
}

TEST(Html, HeatScalesReachAroundAllValues) {
  const HeatScale scale = HeatScale::around({0.43, kMissing, 0.77});
  EXPECT_DOUBLE_EQ(scale.low, 0.4);
  EXPECT_DOUBLE_EQ(scale.high, 0.8);
  EXPECT_NEAR(scale.cell(0.6, "").heat, 0.5, 1e-12);
  EXPECT_LT(scale.cell(kMissing, "").heat, 0);
  EXPECT_GT(HeatScale::around({1, 1}).high, HeatScale::around({1, 1}).low);
}

TEST(SpecLabels, WhatAllHaveAlikeIsSaidOnce) {
  const std::vector<std::string> specs{"dense", "topk:k=1/4,sink=4,min=0", "loki:k=1/4,index=pq:64,sink=4,min=0",
                                       "loki:k=1/8,index=pq:64,sink=4,min=0"};
  const SpecLabels labels(specs);
  EXPECT_EQ(labels.common(), "sink=4, min=0");
  EXPECT_EQ(labels.label(specs[2]), "loki:k=1/4,index=pq:64");  // the index is never left out
  EXPECT_EQ(labels.family(specs[3]), "loki:index=pq:64");
  EXPECT_EQ(labels.by_index(specs[3]), "loki:k=1/8,index=pq");
  EXPECT_EQ(labels.label("dense"), "dense");
}

TEST(SpecLabels, LabelsStayDifferent) {
  const std::vector<std::string> specs{"loki", "loki:min=0", "topk:min=0"};
  const SpecLabels labels(specs);
  EXPECT_EQ(labels.common(), "");
  EXPECT_NE(labels.label(specs[0]), labels.label(specs[1]));
}

TEST(SpecLabels, SpecsComeBackAsTheyWere) {
  for (const char* spec : {"dense", "loki:k=1/8,index=pq:64+h2o:heavy=256", "quest:page=16,flag", ""})
    EXPECT_EQ(split_spec(spec).text(), spec);
}

TEST(SpecLabels, KIsAShareOrACount) {
  EXPECT_DOUBLE_EQ(share_of_k("loki:k=1/8", 8192), 0.125);
  EXPECT_DOUBLE_EQ(share_of_k("loki:k=0.25", 8192), 0.25);
  EXPECT_DOUBLE_EQ(share_of_k("loki:k=2048", 8192), 0.25);
  EXPECT_DOUBLE_EQ(share_of_k("loki", 8192), 1. / 16);  // its default
  EXPECT_TRUE(std::isnan(share_of_k("dense", 8192)));
  EXPECT_TRUE(std::isnan(share_of_k("loki:k=much", 8192)));
}

TEST(Report, QualityIsShownAgainstBytes) {
  const std::string page = page_of({{"run", kEval}});
  const json data = data_of(page);
  const json& chart = chart_named(data, "What is lost, by what is read");
  EXPECT_EQ(chart["x"]["title"], "bytes read (% of dense attention's)");
  ASSERT_EQ(chart["series"].size(), 2U);  // pq:64 over k, pq:128; dense loses nothing, which no logarithm shows
  const json& line = chart["series"][0];
  ASSERT_EQ(line["points"].size(), 2U);
  // 8 bytes of index beside rows of 2 * 64 numbers of 2 bytes, and the part of the rows that is read.
  EXPECT_DOUBLE_EQ(line["points"][0]["x"].get<double>(), 100 * (0.0625 + 8. / 256));
  EXPECT_DOUBLE_EQ(line["points"][1]["x"].get<double>(), 100 * (0.125 + 8. / 256));
  EXPECT_DOUBLE_EQ(line["points"][1]["low"].get<double>(), 0.0035);  // the bootstrap's
  EXPECT_FALSE(line["points"][0].contains("low"));                   // one window has no interval
  expect_has(still(page), "0.00400");
  expect_has(still(page), "0.00350 \u2026 0.00450");
  expect_has(still(page), "15.62");  // percent of the bytes
}

TEST(Report, QualityIsShownByKAndByIndex) {
  const json data = data_of(page_of({{"run", kEval}}));
  const json& by_k = chart_named(data, "By k, the share of tokens that is chosen");
  ASSERT_EQ(by_k["series"].size(), 1U);  // a line needs two points
  EXPECT_EQ(by_k["series"][0]["label"], "loki:index=pq:64");
  EXPECT_EQ(by_k["x"]["ticks"].size(), 2U);
  const json& by_index = chart_named(data, "By the size of the index, or d");
  ASSERT_EQ(by_index["series"].size(), 1U);
  EXPECT_EQ(by_index["series"][0]["label"], "loki:k=1/16,index=pq");
  EXPECT_EQ(by_index["series"][0]["points"][1]["x"], 16);
}

TEST(Report, WithoutAShapeTokensStandForBytes) {
  json all = json::parse(kEval);
  all.erase("shape");
  const json data = data_of(page_of({{"run", all.dump()}}));
  const json& chart = chart_named(data, "What is lost, by what is read");
  EXPECT_EQ(chart["x"]["title"], "tokens read (% of those cached)");
  EXPECT_DOUBLE_EQ(chart["series"][0]["points"][1]["x"].get<double>(), 12.5);
}

TEST(Report, EverySectionIsInTheTables) {
  const std::string page = still(page_of({{"eval", kEval}, {"bench", kBench}}));
  for (const char* id : {"Quality", "Perplexity", "Layers", "Needles", "Spectra", "Speed", "choice", "Settings"}) {
    expect_has(page, std::string("<section id=\"") + id + "\">");
    expect_has(page, std::string("<a href=\"#") + id + "\">");
  }
  expect_has(page, "layer 0: recall 0.6100");
  expect_has(page, "layer 1, head 0: recall 0.7800");
  expect_has(page, "1 of 2 codes found at depth 25 % of 8k tokens");
  expect_has(page, "<td>35.0</td>");                          // mean rank at 90 %
  expect_has(page, "<td>0.600</td><td>3.0</td>");             // entropy, effective rank
  expect_has(page, "0.750 (0.500 \u2026 1.00)");              // choice
  expect_has(page, "+5.000");                                 // percent of perplexity
  expect_has(page, "<td>800.0</td><td>5.00</td>");            // five times as fast
  expect_has(page, "<th scope=\"row\">shape head dim</th>");  // settings
}

TEST(Report, WhatIsNotThereDoesNotAppear) {
  const std::string page = page_of({{"bench", kBench}});
  for (const char* id : {"Quality", "Perplexity", "Layers", "Needles", "Spectra"})
    EXPECT_EQ(page.find(std::string("<section id=\"") + id), std::string::npos) << id;
  const json data = data_of(page);
  const json& speed = chart_named(data, "One layer, one token");
  ASSERT_EQ(speed["series"].size(), 2U);
  EXPECT_EQ(speed["series"][0]["colour"], 0);  // dense is neutral
  EXPECT_EQ(speed["series"][1]["points"][1]["y"], 800);
}

TEST(Report, SpeedIsThatOfTheLongestContext) {
  const auto page = [](double at_length) {
    return still(page_of({{"model", fmt::format(R"({{"bench": "decode", "results": [
      {{"attention": "dense", "depth": 0, "tokens_per_second": 20}},
      {{"attention": "topk", "depth": 0, "tokens_per_second": 60}},
      {{"attention": "dense", "depth": 4096, "tokens_per_second": 10}},
      {{"attention": "topk", "depth": 4096, "tokens_per_second": {}}}]}})",
                                                at_length)}}));
  };
  expect_has(page(20), "<b>2.0\u00d7</b><span>as fast as dense, behind 4k tokens</span>");
  EXPECT_EQ(page(10.2).find("as fast as dense, behind"), std::string::npos);  // 1.0 times is nothing to show
}

TEST(Report, AProfileStandsBesideOneSettingForAll) {
  const std::string page = page_of({{"tune", kTune}});
  const json data = data_of(page);
  const json& chart = chart_named(data, "One setting for all layers, or one for each");
  ASSERT_EQ(chart["series"].size(), 2U);  // dense loses nothing, which no logarithm shows
  EXPECT_EQ(chart["series"][0]["points"].size(), 3U);
  EXPECT_DOUBLE_EQ(chart["series"][0]["points"][0]["x"].get<double>(), 12.5);
  EXPECT_EQ(chart["series"][1]["points"][0]["note"], "profile 2, taken");
  expect_has(still(page), "62.5&nbsp;%");  // of the bytes of the best for all
  expect_has(still(page), "layer 0, loki:index=pq:64,k=1/8: KL 0.000900");
  expect_has(still(page), "0.10 \u2026 0.40");
  EXPECT_EQ(page.find("checked bytes"), std::string::npos);  // a result is no setting
}

TEST(Report, WrongProfilesAreRefused) {
  json all = json::parse(kTune);
  all["sensitivity_kl"][1] = {0, 1};
  expect_refused(all.dump(), "a layer of 'sensitivity_kl' has 2 settings");
  all = json::parse(kTune), all["candidates"].push_back("x");
  expect_refused(all.dump(), "'uniform' has 4 settings");
  all = json::parse(kTune), all["layers"][0] = 3;
  expect_refused(all.dump(), "'layers' is not an array of texts");
}

TEST(Report, RunsOfDifferentBenchesNeedNoNames) {
  const json data = data_of(page_of({{"layer", kBench}, {"model", R"({"bench": "decode", "results": [
    {"attention": "dense", "depth": 4096, "tokens_per_second": 20}]})"}}));
  EXPECT_EQ(chart_named(data, "One layer, one token")["series"][0]["label"], "dense");
}

TEST(Report, MemoryStandsBesideSpeed) {
  const std::string page = still(page_of({{"decode", R"({"bench": "decode", "results": [{"attention": "dense",
    "depth": 4096, "tokens_per_second": 20, "slowest_tokens_per_second": 18.5, "fastest_tokens_per_second": 21,
    "kv_bytes_per_token": 3072, "cache_bytes": 12582912}]})"}}));
  expect_has(page, "<td>18.5 \u2026 21.0</td>");
  expect_has(page, "<td>3072</td><td>12.6</td>");
}

TEST(Report, SpectraBecomeCurves) {
  const json data = data_of(page_of({{"run", kEval}}));
  const json& chart = chart_named(data, "How much the first coordinates hold");
  const json& curve = chart["series"][0]["points"];
  ASSERT_EQ(curve.size(), 2U);
  EXPECT_DOUBLE_EQ(curve[0]["y"].get<double>(), 100 * (0.75 + 0.5) / 2);  // the mean of both heads
  EXPECT_DOUBLE_EQ(curve[1]["y"].get<double>(), 100);
}

TEST(Report, SpeedOfProgramsSideBySide) {
  const json data = data_of(page_of({{"versus", R"({"results": [
    {"bench": "decode", "depth": 0, "tokens_per_second": {"lowkey": 18, "other": 17}},
    {"bench": "decode", "depth": 32768, "tokens_per_second": {"lowkey": 9, "other": 3}}]})"}}));
  const json& chart = chart_named(data, "Decoding with the whole model");
  EXPECT_FALSE(chart["x"]["log"].get<bool>());  // an empty cache has no logarithm
  ASSERT_EQ(chart["series"].size(), 2U);
  EXPECT_EQ(chart["series"][1]["points"].size(), 2U);
}

TEST(Report, RunsStandSideBySide) {
  json other = json::parse(kEval);
  other["agreement"]["results"][1]["kl"]["mean"] = 0.002;
  const std::string page = page_of({{"first", kEval}, {"second", other.dump()}});
  expect_has(still(page),
             "<th scope=\"col\">first</th><th scope=\"col\">second</th><th scope=\"col\">last / first</th>");
  expect_has(still(page), "<td>0.50</td>");
  const json data = data_of(page);
  const json& chart = chart_named(data, "What is lost, by what is read");
  ASSERT_EQ(chart["series"].size(), 4U);
  EXPECT_EQ(chart["series"][0]["colour"], chart["series"][2]["colour"]);
  EXPECT_NE(chart["series"][0]["run"], chart["series"][2]["run"]);
  EXPECT_EQ(data["runs"][1]["results"], other);
  expect_has(page, "<h1>m.gguf on books.txt</h1>");
  other["text"] = "other.txt";
  expect_has(page_of({{"first", kEval}, {"second", other.dump()}}), "<h1>m.gguf</h1>");
}

TEST(Report, NamesFromFilesAreSafeEverywhere) {
  const std::string evil = "</script><!--<img src=x onerror=alert(1)>\"'&{{data}}";
  json all = json::parse(kEval);
  all["model"] = evil, all[evil] = evil;
  all["agreement"]["results"][1]["attention"] = "loki:" + evil;
  all["needle"]["results"][0]["attention"] = evil, all["choice"]["results"][0]["attention"] = evil;
  all["rank"][evil] = all["rank"]["post"];
  all["own " + evil] = all["choice"];
  const std::string page = page_of({{evil, all.dump()}}), plain = page_of({{"run", kEval}});
  EXPECT_EQ(page.find("<img"), std::string::npos);
  EXPECT_EQ(count(page, "</script"), count(plain, "</script"));
  EXPECT_EQ(count(page, "<!--"), count(plain, "<!--"));
  EXPECT_EQ(data_of(page)["runs"][0]["results"], all);
}

TEST(Report, ThePageAsksForNothing) {
  const std::string page = page_of({{"run", kEval}});
  EXPECT_EQ(std::string(kPageHtml).find("http://www.w3.org"), std::string(kPageHtml).rfind("http"));  // a namespace
  EXPECT_EQ(std::string(kPageCss).find("url("), std::string::npos);
  for (const char* word : {"http", "fetch(", "import(", "XMLHttp"})
    EXPECT_EQ(std::string(kPageJs).find(word), std::string::npos) << word;
  expect_has(page, "default-src 'none'");
}

TEST(Report, ChartsComeWithTheirLicence) {
  if (kChartJs.empty()) GTEST_SKIP() << "built without Chart.js (libjs-chart.js)";
  EXPECT_NE(kChartJsLicence.find("Permission is hereby granted"), std::string::npos);
  EXPECT_EQ(kChartJs.find("</script"), std::string::npos);
}

TEST(Report, OtherFilesAreRefused) {
  expect_refused("", "not JSON");
  expect_refused("{\"agreement\": ", "not JSON (byte 15)");
  expect_refused("{\"x\": 1e999}", "out of range");
  expect_refused("\xff", "not JSON");
  expect_refused("[]", "not an object");
  expect_refused("3", "not an object");
  expect_refused("{}", "holds no results");
  expect_refused(R"({"results": [{"method": "dense", "right": 2}]})", "holds no results");
  expect_refused(std::string(100000, '['), "nested deeper");
}

TEST(Report, WrongTypesAreRefused) {
  const auto with = [](const char* pointer, const json& value) {
    json all = json::parse(kEval);
    all[json::json_pointer(pointer)] = value;
    return all.dump();
  };
  expect_refused(with("/agreement", 3), "'agreement' is not an object");
  expect_refused(with("/agreement/results", "x"), "'results' is not an array");
  expect_refused(with("/agreement/results/1", 3), "was expected, not number");
  expect_refused(with("/agreement/results/1/kl/mean", "x"), "'mean' is not a number");
  expect_refused(with("/agreement/results/1/attention", 7), "'attention' is not text");
  expect_refused(with("/agreement/results/1/observed/layers/0/recall", true), "'recall' is not a number");
  expect_refused(with("/agreement/results/1/observed/layers/0/heads", 1), "'heads' is not an array");
  expect_refused(with("/needle/results/0/questions/0/found", "yes"), "'found' of a question is not true or false");
  expect_refused(with("/rank/post/90%", 3), "'90%' is not an array");
  expect_refused(with("/rank/post/90%/0/0", "x"), "'90%' is not a number");
  expect_refused(with("/rank/post/spectrum/0/0", 3), "'spectrum' is not an array");
}

}  // namespace
}  // namespace lowkey::cli
