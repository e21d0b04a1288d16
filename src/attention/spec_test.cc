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
  EXPECT_NE(make_method(spec), nullptr);
}

TEST(AttentionSpec, RefusalsNameWhatIsAllowed) {
  EXPECT_NE(refusal("sparse").find("known: dense"), std::string::npos);
  EXPECT_NE(refusal("").find("known: dense"), std::string::npos);
  EXPECT_NE(refusal("dense:").find("nothing after"), std::string::npos);
  EXPECT_NE(refusal("dense:k").find("KEY=VALUE"), std::string::npos);
  EXPECT_NE(refusal("dense:k=1/8").find("no setting 'k'"), std::string::npos);
}

}  // namespace
}  // namespace lowkey
