// `lowkey bench` as a program, on a tiny model: what its JSON says of speed and memory.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "formats/test_folder.h"

namespace lowkey {
namespace {

using nlohmann::json;

const std::string kModel = LOWKEY_SOURCE_DIR "/tests/data/tiny-llama3";
constexpr int64_t kKvBytes = 2 * 2 * 2 * 48 * 2;  // keys and values, 2 layers, 2 KV heads of 48, 16 bits

class BenchCli : public testing::Test {
 protected:
  // The JSON of a run, null when it failed.
  json run(const std::string& options) {
    const std::string out = (folder_.path() / "out.json").string();
    const int status =
        std::system(("'" LOWKEY_BINARY "' bench " + options + " -t 1 >'" + out + "' 2>/dev/null").c_str());
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? json::parse(folder_.read("out.json")) : json();
  }

  TestFolder folder_;
};

TEST_F(BenchCli, EveryMethodAtEveryDepthWithItsMemory) {
  const json all =
      run("decode '" + kModel +
          "' --depth 0,100 --attention dense --attention quest:min=0 --attention h2o:heavy=8,recent=8 -n 3 -r 2 "
          "--json");
  ASSERT_EQ(all["results"].size(), 6u);
  for (size_t i = 0; i < 6; ++i) EXPECT_EQ(all["results"][i]["depth"], i < 3 ? 0 : 100);
  const json &dense = all["results"][3], &quest = all["results"][4], &h2o = all["results"][5];
  EXPECT_EQ(dense["attention"], "dense");
  EXPECT_EQ(dense["kv_bytes_per_token"], kKvBytes);
  EXPECT_EQ(dense["cache_bytes"], 103 * kKvBytes);
  EXPECT_GT(quest["kv_bytes_per_token"], kKvBytes);  // bounds of pages
  EXPECT_LT(h2o["cache_bytes"], dense["cache_bytes"]);
  EXPECT_LE(dense["slowest_tokens_per_second"], dense["tokens_per_second"]);
  EXPECT_GE(dense["fastest_tokens_per_second"], dense["tokens_per_second"]);
  EXPECT_EQ(dense["seconds"].size(), 2u);
  EXPECT_GT(dense["probe_gigabytes_per_second"], 0);
  EXPECT_GT(all["peak_resident_bytes"], 0);
  EXPECT_LT(all["peak_resident_bytes"], 200 << 20);  // without the probe's half a gigabyte
}

TEST_F(BenchCli, APromptIsReadInChunks) {
  const json all = run("prefill '" + kModel + "' -n 40 --chunk 16 -r 1 --json");
  ASSERT_EQ(all["results"].size(), 1u);
  EXPECT_EQ(all["results"][0]["tokens"], 40);
  EXPECT_EQ(all["results"][0]["cache_bytes"], 40 * kKvBytes);
}

TEST_F(BenchCli, OneLayerByMethods) {
  const json all =
      run("attention --context 128 --heads 4 --kv-heads 2 --head-dim 32 -r 1 --attention dense --attention "
          "loki:index=bits:32,k=1/8,min=0 --json");
  ASSERT_EQ(all["results"].size(), 2u);
  EXPECT_EQ(all["results"][0]["kv_bytes_per_token"], 2 * 2 * 32 * 2);
  EXPECT_EQ(all["results"][1]["kv_bytes_per_token"], 2 * 2 * 32 * 2 + 2 * 32 / 8);
  EXPECT_LE(all["results"][1]["fastest_microseconds"], all["results"][1]["slowest_microseconds"]);
}

TEST_F(BenchCli, AWholeTextByMethods) {
  const std::string size = "reading --heads 4 --kv-heads 2 --head-dim 16 --ffn 64 -r 1 --json";
  const json all = run(size + " --length 64,128,256 --attention dense --attention atp:r=1/4");
  EXPECT_EQ(all["phase"], "encoder");
  ASSERT_EQ(all["results"].size(), 6u);
  for (size_t i = 0; i < 6; ++i) {
    const json &r = all["results"][i], &first = all["results"][i / 2 * 2];
    EXPECT_EQ(r["length"], 64 << i / 2);
    EXPECT_EQ(r["attention"], i % 2 == 0 ? "dense" : "atp:r=1/4");
    const auto number = [](const json& of, const char* key) { return of[key].get<double>(); };
    EXPECT_DOUBLE_EQ(number(r, "times_layer"), number(first, "layer_milliseconds") / number(r, "layer_milliseconds"));
    const double sum =
        number(r, "project_milliseconds") + number(r, "attention_milliseconds") + number(r, "rest_milliseconds");
    EXPECT_NEAR(number(r, "layer_milliseconds"), sum, 1e-9 * sum);
    EXPECT_GT(number(r, "attention_milliseconds"), 0);
  }
  ASSERT_EQ(all["growth"].size(), 2u);
  EXPECT_EQ(all["growth"][1]["attention"], "atp:r=1/4");
  const json prompt = run(size + " --prompt --step 32 --length 64");
  EXPECT_EQ(prompt["phase"], "prompt");
  EXPECT_EQ(prompt["step"], 32);
  EXPECT_EQ(prompt["results"].size(), 1u);
  EXPECT_EQ(prompt["growth"].size(), 0u);  // one length has none
}

TEST_F(BenchCli, WrongUseIsRefused) {
  EXPECT_TRUE(run("decode '" + kModel + "' -n 0 --json").is_null());
  EXPECT_TRUE(run("decode '" + kModel + "' --attention topk:k=0 --json").is_null());
  EXPECT_TRUE(run("attention --context 0 --json").is_null());
  EXPECT_TRUE(run("reading --length 0 --json").is_null());
  EXPECT_TRUE(run("reading --length 64 --weights q4_0 --json").is_null());
}

}  // namespace
}  // namespace lowkey
