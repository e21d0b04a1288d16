#include "lab/protocol.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace lowkey {
namespace {

std::string block(std::string_view spec, int64_t tokens = 1000) {
  return judged_spec(parse_attention_spec(spec), Protocol::kBlock, tokens).text();
}
std::string decode(std::string_view spec) {
  return judged_spec(parse_attention_spec(spec), Protocol::kDecode, 1000).text();
}

TEST(Protocol, InDecodingBudgetsArePartsOfEachLength) {
  EXPECT_EQ(decode("topk:k=1/4"), "topk:k=1/4,prefill=all");
  EXPECT_EQ(decode("loki"), "loki:min=0,prefill=all");
  EXPECT_EQ(decode("loki:min=64"), "loki:min=64,prefill=all");
  EXPECT_EQ(decode("dense"), "dense");
}

TEST(Protocol, InABlockTheyArePartsOfTheWhole) {
  EXPECT_EQ(block("topk:k=1/4,sink=0,recent=0"), "topk:k=250,prefill=all,recent=0,sink=0");
  EXPECT_EQ(block("topk"), "topk:k=62,prefill=all");  // 1/16, rounded down as the papers do
  EXPECT_EQ(block("topk:k=17"), "topk:k=17,prefill=all");
  EXPECT_EQ(block("topk:k=all"), "topk:k=1000,prefill=all");
  EXPECT_EQ(block("loki:form=paper"), "loki:form=paper,k=250,prefill=all");
  EXPECT_EQ(block("streaming:recent=1/8"), "streaming:prefill=all,recent=125");
  EXPECT_EQ(block("streaming"), "streaming:prefill=all");
  EXPECT_EQ(block("h2o"), "h2o:heavy=125,recent=125");
  EXPECT_EQ(block("topk:k=1/2+h2o:heavy=1/10"), "topk:k=500+h2o:heavy=100,recent=125");
  EXPECT_EQ(block("dense"), "dense");
}

TEST(Protocol, WordsAreNamed) {
  EXPECT_EQ(parse_protocol("block"), Protocol::kBlock);
  EXPECT_EQ(parse_protocol("decode"), Protocol::kDecode);
  EXPECT_THROW(parse_protocol("prefill"), Error);
}

}  // namespace
}  // namespace lowkey
