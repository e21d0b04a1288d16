// Every file of the table is refused with one line that names the file, the field and the rule.
#include <gtest/gtest.h>

#include "bad_files/bad_file.h"
#include "bad_files/bytes.h"
#include "bad_files/tiny_model.h"
#include "formats/gguf.h"
#include "formats/safetensors.h"
#include "model/model.h"
#include "model/tokenizer_loader.h"

namespace lowkey {
namespace {

void open_all(const std::filesystem::path& path) {
  const auto model = open_model(path);
  const Tokenizer tokenizer = load_tokenizer(path);
}

void expect_refused(const BadFile& bad) {
  SCOPED_TRACE(bad.name);
  const TestFolder folder;
  bad.write(folder);
  try {
    open_all(folder / bad.opened);
    ADD_FAILURE() << "was accepted";
  } catch (const Error& error) {
    const std::string message = error.what();
    EXPECT_EQ(error.kind(), bad.kind) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    EXPECT_LT(message.size(), 600u) << message;
    EXPECT_TRUE(message.starts_with('[')) << message;
    EXPECT_NE(message.find(bad.culprit), std::string::npos) << "the file " << bad.culprit << " in: " << message;
    EXPECT_NE(message.find(bad.words), std::string::npos) << "'" << bad.words << "' in: " << message;
  } catch (const std::exception& error) {
    ADD_FAILURE() << "not a lowkey::Error: " << error.what();
  }
}

void expect_all_refused(const std::vector<BadFile>& cases) {
  for (const BadFile& bad : cases) expect_refused(bad);
  std::cout << cases.size() << " files\n";
}

TEST(BadFiles, TheUnspoiltOnesAreAccepted) {
  const TestFolder folder;
  EXPECT_NO_THROW(Gguf::parse(as_bytes(RawGguf().bytes()), "raw"));
  const std::string bytes = raw_safetensors(kRawHeader, std::string(16, 'x'));
  EXPECT_NO_THROW(Safetensors::parse(as_bytes(bytes), "raw"));
  write_tiny_folder(folder, "model");
  EXPECT_NO_THROW(open_all(folder / "model"));
  TinyModel().write_gguf(folder / "model.gguf");
  EXPECT_NO_THROW(open_all(folder / "model.gguf"));
}

TEST(BadFiles, GgufIsRefused) { expect_all_refused(bad_ggufs()); }
TEST(BadFiles, GgufThatIsNoModelIsRefused) { expect_all_refused(bad_gguf_models()); }
TEST(BadFiles, SafetensorsIsRefused) { expect_all_refused(bad_safetensors()); }
TEST(BadFiles, FolderIsRefused) { expect_all_refused(bad_folders()); }

}  // namespace
}  // namespace lowkey
