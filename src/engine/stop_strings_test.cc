#include "engine/stop_strings.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace lowkey {
namespace {

// The whole text of a stream that arrives in pieces of n bytes.
std::string stream(const std::vector<std::string>& stops, const std::string& text, size_t n) {
  StopStrings filter(stops);
  std::string shown;
  for (size_t i = 0; i < text.size(); i += n) shown += filter.push(text.substr(i, n));
  return shown + filter.finish();
}

TEST(StopStrings, EndBeforeTheFirstOneHoweverTheTextArrives) {
  for (size_t n = 1; n < 12; ++n) {
    EXPECT_EQ(stream({"END", "\n\n"}, "one\ntwo END three\n\n", n), "one\ntwo ");
    EXPECT_EQ(stream({"END", "\n\n"}, "one\n\ntwo END", n), "one");
    EXPECT_EQ(stream({"aab"}, "aaab!", n), "a");
    EXPECT_EQ(stream({"END"}, "the EN", n), "the EN") << "a beginning alone is text";
    EXPECT_EQ(stream({}, "anything", n), "anything");
  }
}

TEST(StopStrings, NothingIsShownThatMayStillBecomeAStop) {
  StopStrings filter({"stop"});
  EXPECT_EQ(filter.push("do st"), "do ");
  EXPECT_EQ(filter.push("ay"), "stay");
  EXPECT_EQ(filter.push("stop"), "");
  EXPECT_TRUE(filter.stopped());
  EXPECT_EQ(filter.push("more"), "");
}

TEST(StopStrings, AnEmptyOneIsRefused) { EXPECT_THROW(StopStrings({""}), Error); }

}  // namespace
}  // namespace lowkey
