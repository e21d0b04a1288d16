// BadFile: a model that must be refused, with what the one line of the refusal has to say. The same table is used
// with the library, with the command line and, as seeds, with the fuzzers.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "formats/test_folder.h"
#include "lowkey/error.h"

namespace lowkey {

struct BadFile {
  std::string name;
  std::function<void(const TestFolder&)> write;
  std::string opened;   // what is opened, in the test folder: a file or a folder
  std::string culprit;  // the file that the message names
  std::string words;    // the field, and where it is short the value, as the message has them
  ErrorKind kind = ErrorKind::kCorruptFile;
};

std::vector<BadFile> bad_ggufs();        // broken rules of the format
std::vector<BadFile> bad_gguf_models();  // sound GGUF files that are no sound model
std::vector<BadFile> bad_safetensors();  // and indexes of shards
std::vector<BadFile> bad_folders();      // config.json, tokenizer.json, tokenizer_config.json

}  // namespace lowkey
