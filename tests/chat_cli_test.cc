// `lowkey run` in conversation, as a program.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdlib>
#include <string>

#include "formats/test_folder.h"

namespace lowkey {
namespace {

class ChatCli : public testing::Test {
 protected:
  // The exit code of `lowkey run MODEL options`, which reads `input`.
  int run(const std::string& options, const std::string& input) {
    folder_.write("input.txt", input);
    const std::string command = "cd '" + folder_.path().string() +
                                "' && '" LOWKEY_BINARY "' run '" LOWKEY_SOURCE_DIR "/tests/data/tiny-llama3' -t 1 " +
                                options + " >stdout.txt 2>stderr.txt <input.txt";
    const int status = std::system(command.c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  TestFolder folder_;
};

TEST_F(ChatCli, TalksUntilItIsToldToEnd) {
  ASSERT_EQ(run("-i -n 4 --ignore-end --chat-template chatml --system brief",
                "one\ntwo\\\nthree\n/reset\none\n/exit\nfour\n"),
            0)
      << folder_.read("stderr.txt");
  const std::string said = folder_.read("stdout.txt");
  ASSERT_FALSE(said.empty());
  // After /reset the first turn is answered as it was.
  ASSERT_EQ(run("-i -n 4 --ignore-end --chat-template chatml --system brief", "one\n"), 0);
  const std::string first = folder_.read("stdout.txt");
  EXPECT_TRUE(said.starts_with(first));
  EXPECT_TRUE(said.ends_with(first));
  EXPECT_GT(said.size(), 2 * first.size());
}

TEST_F(ChatCli, OneTurnNeedsATemplate) {
  EXPECT_EQ(run("--chat -p hello -n 4", ""), 2);
  EXPECT_NE(folder_.read("stderr.txt").find("says no chat template"), std::string::npos);
  EXPECT_EQ(run("--chat --chat-template other -p hello", ""), 2);
  EXPECT_NE(folder_.read("stderr.txt").find("must be one of"), std::string::npos);
  folder_.write("own.jinja", "{% for m in messages %}{{ m.content }}{% endfor %}");
  EXPECT_EQ(run("--chat --chat-template own.jinja -p hello -n 4", ""), 0) << folder_.read("stderr.txt");
}

TEST_F(ChatCli, AConversationTooLongForTheContextGoesOnAfterReset) {
  const std::string much(300, 'x');
  ASSERT_EQ(run("-i -n 4 --context 100 --chat-template chatml", much + "\n/reset\nshort\n"), 0)
      << folder_.read("stderr.txt");
  EXPECT_NE(folder_.read("stderr.txt").find("/reset begins anew"), std::string::npos);
  EXPECT_FALSE(folder_.read("stdout.txt").empty());
}

}  // namespace
}  // namespace lowkey
