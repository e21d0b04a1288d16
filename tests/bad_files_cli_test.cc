// `lowkey inspect` on every file of the table: exit code 1, nothing on stdout, one line on stderr.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>

#include "bad_files/bad_file.h"
#include "bad_files/tiny_model.h"

namespace lowkey {
namespace {

// Runs in the test folder, so that its files can catch both outputs. Returns the exit code, -1 after a signal.
int inspect(const TestFolder& folder, const std::string& opened) {
  const std::string command = "cd '" + folder.path().string() + "' && '" LOWKEY_BINARY "' inspect '" + opened +
                              "' >stdout.txt 2>stderr.txt </dev/null";
  const int status = std::system(command.c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void expect_refused(const BadFile& bad) {
  SCOPED_TRACE(bad.name);
  const TestFolder folder;
  bad.write(folder);
  const int code = inspect(folder, bad.opened);
  const std::string message = folder.read("stderr.txt");
  EXPECT_EQ(code, 1) << message;
  EXPECT_EQ(folder.read("stdout.txt"), "");
  EXPECT_EQ(std::count(message.begin(), message.end(), '\n'), 1) << message;
  EXPECT_NE(message.find(bad.culprit), std::string::npos) << message;
  EXPECT_NE(message.find(bad.words), std::string::npos) << message;
}

TEST(BadFilesCli, TheUnspoiltOnesAreAccepted) {
  const TestFolder folder;
  write_tiny_folder(folder, "model");
  EXPECT_EQ(inspect(folder, "model"), 0) << folder.read("stderr.txt");
  TinyModel().write_gguf(folder / "model.gguf");
  EXPECT_EQ(inspect(folder, "model.gguf"), 0) << folder.read("stderr.txt");
}

TEST(BadFilesCli, EveryFileOfTheTableIsRefused) {
  for (const auto& cases : {bad_ggufs(), bad_gguf_models(), bad_safetensors(), bad_folders()})
    for (const BadFile& bad : cases) expect_refused(bad);
}

}  // namespace
}  // namespace lowkey
