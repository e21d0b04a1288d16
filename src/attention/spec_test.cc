#include "attention/spec.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace lowkey {
namespace {

std::string refusal(std::string_view text) {
  try {
    parse_attention_spec(text);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidArgument);
    return error.what();
  }
  return "";
}

TEST(AttentionSpec, DenseIsAMethod) {
  const AttentionSpec spec = parse_attention_spec("dense");
  EXPECT_EQ(spec.text(), "dense");
  EXPECT_NE(make_method(spec, {}), nullptr);
}

TEST(AttentionSpec, RefusalsNameWhatIsAllowed) {
  EXPECT_NE(refusal("sparse").find("known: dense"), std::string::npos);
  EXPECT_NE(refusal("").find("known: dense"), std::string::npos);
  EXPECT_NE(refusal("dense:").find("nothing after"), std::string::npos);
  EXPECT_NE(refusal("dense:k").find("KEY=VALUE"), std::string::npos);
  EXPECT_NE(refusal("dense:k=1/8").find("no setting 'k'"), std::string::npos);
}

std::string value_refusal(std::string_view text) {
  try {
    make_method(parse_attention_spec(text), {});
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidArgument);
    return error.what();
  }
  return "";
}

TEST(AttentionSpec, AmountsArePartsOrCounts) {
  for (std::string_view good : {"topk:k=1/8", "topk:k=0.125", "topk:k=2048", "topk:k=all", "topk:k=1.0,sink=0,recent=0",
                                "streaming:sink=4,recent=1/8"})
    EXPECT_NE(make_method(parse_attention_spec(good), {}), nullptr) << good;
  for (std::string_view bad : {"topk:k=0", "topk:k=3/2", "topk:k=1/0", "topk:k=-1", "topk:k=1.5", "topk:k=8x",
                               "topk:k=1/8/2", "topk:sink=-1", "topk:p=0", "topk:p=1.1", "topk:heads=all",
                               "streaming:recent=0", "sparq:r=0", "sparq:score=sum", "sparq:mean=1", "sparq:p=0.9"})
    EXPECT_NE(value_refusal(bad).find("must be"), std::string::npos) << bad << ": " << value_refusal(bad);
}

TEST(AttentionSpec, EveryRowSelectsWhereStepsDoNotMatter) {
  const auto prefill = [](const char* text) {
    const AttentionSpec spec = with_every_row(parse_attention_spec(text));
    return spec.settings.contains("prefill") ? spec.settings.at("prefill") : "";
  };
  EXPECT_EQ(prefill("loki"), "all");
  EXPECT_EQ(prefill("loki+atp:r=1/4"), "all");
  EXPECT_EQ(prefill("loki+h2o"), "");
  EXPECT_EQ(prefill("dense"), "");
}

TEST(AttentionSpec, TheTextIsCanonical) {
  EXPECT_EQ(parse_attention_spec("topk:sink=4,k=1/8").text(), "topk:k=1/8,sink=4");
}

}  // namespace
}  // namespace lowkey
