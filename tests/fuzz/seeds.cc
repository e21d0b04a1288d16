// Writes the inputs that the fuzzers start from, a folder for each fuzzer.
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
  for (const auto& file : fs::directory_iterator(fs::path(LOWKEY_SOURCE_DIR) / "tests/data/chat"))
    if (file.path().extension() == ".jinja") write(out / "chat_template" / file.path().stem(), read(file.path()));
  write(out / "sentencepiece/two",
        std::string("\x0A\x0F\x0A\x06<0x41>\x15\0\0\0\0\x18\x06\x0A\x03\x0A\x01x\x12\x02\x18\x02", 26));
  write(out / "regex/words",
        R"((?i:'s|'t)| ?\p{L}+|[^\s\p{N}]{1,3}|\s+(?!\S)|.)" + std::string(1, '\0') + "It's 12 o'clock\n");
  const std::string tokenizer = read(data / "tokenizer.json");
  write(out / "tokenizer/plain", tokenizer);
  write(out / "tokenizer/config", tokenizer + '\0' + R"({"bos_token":"<|begin_of_text|>","add_bos_token":true})");
}
