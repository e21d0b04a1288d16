// `lowkey eval` as a program: every task on a tiny model, and runs that are ended and go on.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "formats/test_folder.h"

namespace lowkey {
namespace {

using nlohmann::json;

const std::string kModel = LOWKEY_SOURCE_DIR "/tests/data/tiny-llama3";
const std::string kTasks =
    " --task perplexity,agreement,needle,rank,choice,generate --text text.txt --data items.jsonl --context 400 "
    "--windows 2 --scored 16 --chunk 64 --lengths 500,700 --depths 0.25,0.75 --documents 2 --distractors 1 "
    "--tokens 4 -t 1 --attention topk:k=1/8,sink=1,recent=4 --attention streaming:recent=32";

class EvalCli : public testing::Test {
 protected:
  EvalCli() {
    std::string text;
    for (int i = 0; i < 400; ++i) text += std::to_string(i * i) + " is not " + std::to_string(7 * i) + "; ";
    folder_.write("text.txt", text);
    folder_.write("items.jsonl",
                  "{\"prompt\": \"One of two:\", \"choices\": [\" this\", \" that one\"], \"answer\": 1}\n"
                  "{\"prompt\": \"And now:\", \"choices\": [\" x\", \" y\", \" z\"], \"answer\": \" z\"}\n"
                  "{\"prompt\": \"Say it:\", \"answer\": \"it\", \"context\": \"A few words before.\"}\n");
  }

  // Runs in the folder; the exit code, -1 after a signal.
  int run(const std::string& options, const std::string& before = "", const std::string& model = kModel) {
    const std::string command = "cd '" + folder_.path().string() + "' && " + before + " '" LOWKEY_BINARY "' eval '" +
                                model + "' " + options + " >stdout.txt 2>stderr.txt </dev/null";
    const int status = std::system(command.c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  // The JSON of a whole run.
  std::string measure(const std::string& options) {
    EXPECT_EQ(run(kTasks + " --json-file out.json " + options), 0) << folder_.read("stderr.txt");
    return folder_.read("out.json");
  }

  TestFolder folder_;
};

// But for how long things took.
json without_times(json j) {
  if (j.is_object())
    for (const char* key : {"seconds", "seconds_per_window", "seconds_per_question"}) j.erase(key);
  if (j.is_structured())
    for (auto& value : j) value = without_times(value);
  return j;
}

TEST_F(EvalCli, AnAdaptedModelIsMeasuredWithItsOwnAttention) {
  std::filesystem::copy(kModel, folder_.path() / "adapted");
  std::filesystem::remove(folder_.path() / "adapted/config.json");
  std::ifstream stream(kModel + "/config.json");
  json config = json::parse(stream);
  config["lowkey_attention"] = "atp:form=linear,min=16";
  folder_.write("adapted/config.json", config.dump());
  const std::string options = "--text text.txt --context 400 --windows 1 --task perplexity --json-file out.json";
  for (const auto& [more, expected] : {std::pair{"", "atp:form=linear,min=16"},
                                       std::pair{" --attention streaming:recent=32", "streaming:recent=32"}}) {
    ASSERT_EQ(run(options + more, "", "adapted"), 0) << folder_.read("stderr.txt");
    const json results = json::parse(folder_.read("out.json"))["results"];
    ASSERT_EQ(results.size(), 2u);
    EXPECT_EQ(results[0]["attention"], "dense");
    EXPECT_EQ(results[1]["attention"], expected);
  }
  config["lowkey_attention"] = 3;
  folder_.write("adapted/config.json", config.dump());
  EXPECT_EQ(run(options, "", "adapted"), 1);
}

TEST_F(EvalCli, EveryTaskHasItsResultsDenseFirst) {
  const json all = json::parse(measure(""));
  for (const json* results : {&all["results"], &all["agreement"]["results"], &all["needle"]["results"],
                              &all["choice"]["results"], &all["generate"]["results"]}) {
    ASSERT_EQ(results->size(), 3u);
    EXPECT_EQ((*results)[0]["attention"], "dense");
    EXPECT_EQ((*results)[2]["attention"], "streaming:recent=32");
  }
  const json& perplexity = all["results"][1];
  EXPECT_EQ(perplexity["windows"], 2);
  EXPECT_EQ(perplexity["protocol"], "decode");
  EXPECT_LE(perplexity["low"], perplexity["perplexity"]);
  EXPECT_GE(perplexity["high"], perplexity["perplexity"]);
  EXPECT_EQ(all["results"][0]["increase_percent"]["mean"], 0);
  const json& seen = all["agreement"]["results"][1]["observed"];
  EXPECT_EQ(seen["layers"].size(), 2u);
  EXPECT_EQ(seen["layers"][0]["heads"].size(), 4u);
  EXPECT_GT(seen["layers"][1]["heads"][3]["output_error"], 0);
  const json& grid = all["needle"]["results"][1]["grid"];
  EXPECT_EQ(grid["trials"], json({{2, 2}, {2, 2}}));
  EXPECT_EQ(all["needle"]["results"][0]["questions"].size(), 8u);
  EXPECT_EQ(all["rank"]["pre"]["spectrum"][1][1].size(), 48u);
  EXPECT_EQ(all["rank"]["post"]["90%"].size(), 2u);
  EXPECT_GT(all["rank"]["post"]["svd_entropy"][1][0], all["rank"]["pre"]["svd_entropy"][1][0]);
  EXPECT_EQ(all["choice"]["results"][0]["items"], 2);
  EXPECT_EQ(all["choice"]["results"][0]["as_dense"], 1);
  EXPECT_EQ(all["generate"]["results"][0]["items"], 1);
}

// A run that ended after any byte of its journal gives, when it goes on, what a whole run gives.
TEST_F(EvalCli, ARunThatWasEndedGoesOn) {
  const std::string whole = measure("--resume full.jsonl");
  const std::string journal = folder_.read("full.jsonl");
  EXPECT_EQ(measure("--resume full.jsonl"), whole);  // byte for byte: times too are in the journal
  EXPECT_EQ(folder_.read("full.jsonl"), journal);
  for (size_t part : {0, 1, 17, 44, 71, 99}) {
    const size_t cut = journal.size() * part / 100 + (part > 0 ? 1 : 0);
    folder_.write("cut.jsonl", journal.substr(0, cut));
    EXPECT_EQ(without_times(json::parse(measure("--resume cut.jsonl"))), without_times(json::parse(whole))) << cut;
    const size_t line_end = cut == 0 ? std::string::npos : journal.rfind('\n', cut - 1);
    const std::string kept = journal.substr(0, line_end + 1);  // npos + 1: nothing
    EXPECT_TRUE(folder_.read("cut.jsonl").starts_with(kept)) << cut;
  }
}

TEST_F(EvalCli, KilledAgainAndAgainItEndsWithTheSameResults) {
  const json whole = without_times(json::parse(measure("")));
  int kills = 0;
  for (int i = 1; i < 60; ++i) {  // each time with a little more patience
    const std::string patience = fmt::format("timeout -s KILL {:.3f}", 0.03 * i);
    if (run(kTasks + " --json-file out.json --resume killed.jsonl", patience) == 0) break;
    ++kills;
  }
  RecordProperty("kills", kills);
  EXPECT_GT(kills, 0);
  EXPECT_EQ(without_times(json::parse(measure("--resume killed.jsonl"))), whole);
}

TEST_F(EvalCli, TheJournalOfAnotherRunIsRefused) {
  measure("--resume a.jsonl");
  const std::string journal = folder_.read("a.jsonl");
  const std::pair<const char*, const char*> others[] = {
      {"--protocol block", "protocol"}, {"--attention topk:k=7", "attention"}, {"--kv-type f32", "kv_type"}};
  for (const auto& [option, key] : others) {
    EXPECT_EQ(run(kTasks + " --resume a.jsonl " + option), 2);
    EXPECT_NE(folder_.read("stderr.txt").find(key), std::string::npos) << folder_.read("stderr.txt");
  }
  folder_.write("text.txt", folder_.read("text.txt") + "more");
  EXPECT_EQ(run(kTasks + " --resume a.jsonl"), 2);
  EXPECT_NE(folder_.read("stderr.txt").find("text"), std::string::npos);
  EXPECT_EQ(folder_.read("a.jsonl"), journal);
}

TEST_F(EvalCli, NoFileOfAnotherKindIsOverwritten) {
  for (const std::string content : {"some notes", "some notes\nof two lines", "[1]\n", "{\"lowkey eval\": 2}\n"}) {
    folder_.write("notes.txt", content);
    EXPECT_NE(run(kTasks + " --resume notes.txt"), 0);
    EXPECT_EQ(folder_.read("notes.txt"), content);
  }
  const std::string header = "{\"lowkey eval\": 1}\n{\"task\": 1}\n";
  folder_.write("notes.txt", header);
  EXPECT_NE(run(kTasks + " --resume notes.txt"), 0);
  EXPECT_EQ(folder_.read("notes.txt"), header);
}

TEST_F(EvalCli, WrongUseIsRefusedBeforeWork) {
  EXPECT_EQ(run("--task perplexity --text text.txt --protocol prefill"), 2);
  EXPECT_EQ(run("--task choice"), 2);
  EXPECT_EQ(run("--task perplexity"), 2);  // no book beside this model
  EXPECT_EQ(run("--task perplexity --text text.txt --attention topk:k=0"), 2);
  EXPECT_EQ(run("--task perplexity --text text.txt --context 100 --stride 101"), 2);
  folder_.write("bad.jsonl", "{\"prompt\": \"x\"}\n");
  EXPECT_EQ(run("--task choice --data bad.jsonl"), 1);
  EXPECT_NE(folder_.read("stderr.txt").find("line 1"), std::string::npos);
}

TEST_F(EvalCli, TheBlockProtocolReadsMoreOfTheFirstRows) {
  const auto perplexity = [&](const std::string& protocol) {
    EXPECT_EQ(run("--text text.txt --context 256 --windows 1 -t 1 --attention topk:k=1/16,sink=0,recent=0 --json-file "
                  "out.json --protocol " +
                  protocol),
              0);
    return json::parse(folder_.read("out.json"))["results"];
  };
  const json decode = perplexity("decode"), block = perplexity("block");
  EXPECT_EQ(decode[0]["perplexity"], block[0]["perplexity"]);
  EXPECT_NE(decode[1]["perplexity"], block[1]["perplexity"]);
  EXPECT_EQ(block[1]["protocol"], "block");
}

}  // namespace
}  // namespace lowkey
