// Options that several verbs share, and what they open.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "attention/spec.h"
#include "base/context.h"
#include "model/model.h"
#include "text/tokenizer.h"

namespace lowkey::cli {

struct CommonOptions {
  std::string model;
  std::string attention = "dense";
  std::string calibration;  // "": the one beside the model
  std::string kv_type = "f16";
  std::string isa;  // "": the best there is
  int threads = 0;  // 0: all
  bool json = false;
  bool preload = false;
};

void add_model(CLI::App&, CommonOptions&);  // MODEL, --preload
FilePlace place_of(const CommonOptions&);   // of the weights
std::unique_ptr<Model> open_model(const CommonOptions&);
void add_execution(CLI::App&, CommonOptions&);    // --threads, --isa, --json
void add_attention(CLI::App&, CommonOptions&);    // --attention, --calibration, --kv-type
void add_calibration(CLI::App&, CommonOptions&);  // --calibration
void add_kv_type(CLI::App&, CommonOptions&);      // --kv-type

// Applies --isa and makes the context of the run.
std::unique_ptr<Context> make_context(const CommonOptions&);
DType parse_kv_type(const std::string& word);

// Text of -p and -f as one prompt: the file first. "-" reads stdin. Throws kInvalidArgument when there is neither.
struct PromptOptions {
  std::string text;
  std::string file;
};
void add_prompt(CLI::App&, PromptOptions&);
std::string prompt_text(const PromptOptions&);
std::string read_whole(const std::string& path);  // "-": stdin
void write_whole(const std::string& path, std::string_view text);

int64_t peak_resident_bytes();
std::string machine_name();  // "AMD EPYC, 2 cores", for results; without the first part where nobody says it

}  // namespace lowkey::cli
