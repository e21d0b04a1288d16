// Writes the inputs that the fuzzers start from: FOLDER/gguf, FOLDER/safetensors, FOLDER/tokenizer.
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "bad_files/bad_file.h"
#include "bad_files/bytes.h"

namespace {

using namespace lowkey;
namespace fs = std::filesystem;

void write(const fs::path& path, const std::string& bytes) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << bytes;
}

std::string read(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

void write_ggufs(const fs::path& out) {
  write(out / "sound", RawGguf().bytes());
  int number = 0;
  for (const BadFile& bad : bad_ggufs()) {
    const TestFolder folder;
    bad.write(folder);
    write(out / std::to_string(number++), folder.read("model.gguf"));
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const fs::path out = argv[1], data = fs::path(LOWKEY_SOURCE_DIR) / "tests/data/tiny-llama3";
  write_ggufs(out / "gguf");
  write(out / "safetensors/file", "f" + raw_safetensors(kRawHeader, std::string(16, 'x')));
  write(out / "safetensors/index", R"(i{"metadata":{"total_size":1},"weight_map":{"a":"model-1.safetensors"}})");
  const std::string tokenizer = read(data / "tokenizer.json");
  write(out / "tokenizer/plain", tokenizer);
  write(out / "tokenizer/config", tokenizer + '\0' + R"({"bos_token":"<|begin_of_text|>","add_bos_token":true})");
}
