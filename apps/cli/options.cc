#include "apps/cli/options.h"

#include <sys/resource.h>

#include <fstream>
#include <iostream>
#include <sstream>
#include <thread>

#include "base/error.h"
#include "base/isa.h"

namespace lowkey::cli {

void add_model(CLI::App& app, CommonOptions& options) {
  app.add_option("MODEL", options.model, "a .gguf file or a Hugging Face folder")->required();
  app.add_flag("--preload", options.preload,
               "read all weights into memory of their own before the first token: later there, faster then");
}

FilePlace place_of(const CommonOptions& options) { return options.preload ? FilePlace::kMemory : FilePlace::kMapped; }

std::unique_ptr<Model> open_model(const CommonOptions& options) {
  return lowkey::open_model(options.model, place_of(options));
}

void add_execution(CLI::App& app, CommonOptions& options) {
  app.add_option("-t,--threads", options.threads, "cores to use; 0: all")->check(CLI::Range(0, 1024));
  app.add_option("--isa", options.isa, "instruction set, at most: baseline, avx2, avx512 or amx")
      ->envname("LOWKEY_ISA");
  app.add_flag("--json", options.json, "print one JSON object instead of text");
}

void add_calibration(CLI::App& app, CommonOptions& options) {
  app.add_option("--calibration", options.calibration,
                 "what lowkey calibrate wrote; without it the file beside the model, if any");
}

void add_kv_type(CLI::App& app, CommonOptions& options) {
  app.add_option(
         "--kv-type", options.kv_type,
         "type of cached keys and values: f16, bf16, f32, int8 (with a scale for each token and head) or int4 (an "
         "experiment: keys in 8 bits, values in 4)")
      ->capture_default_str();
}

void add_attention(CLI::App& app, CommonOptions& options) {
  app.add_option("--attention", options.attention,
                 "attention method and its settings: dense; loki, loki:k=1/16,index=pq:128; topk:k=1/8; "
                 "streaming:recent=1024; default: what the folder's config.json says it was adapted to")
      ->capture_default_str();
  add_calibration(app, options);
  add_kv_type(app, options);
}

std::unique_ptr<Context> make_context(const CommonOptions& options) {
  if (!options.isa.empty()) limit_isa(parse_isa(options.isa));
  return std::make_unique<Context>(options.threads);
}

DType parse_kv_type(const std::string& word) {
  for (DType type : {DType::kF16, DType::kBF16, DType::kF32})
    if (word == name(type)) return type;
  if (word == "int8") return DType::kI8;
  if (word == "int4") return DType::kI8I4;
  throw Error(ErrorKind::kInvalidArgument,
              fmt::format("--kv-type '{}', must be f16, bf16, f32, int8 or int4 (keys in 8 bits, values in 4)", word));
}

void add_prompt(CLI::App& app, PromptOptions& options) {
  app.add_option("-p,--prompt", options.text, "the text, or what follows the file's text");
  app.add_option("-f,--file", options.file, "a file with the text; '-' reads standard input");
}

std::string read_whole(const std::string& path) {
  std::ostringstream text;
  if (path == "-") {
    text << std::cin.rdbuf();
    return std::move(text).str();
  }
  std::ifstream stream(path, std::ios::binary);
  LK_REQUIRE(stream.is_open(), kNotFound, "[file] {}: cannot be read", path);
  text << stream.rdbuf();
  LK_REQUIRE(!stream.bad() && !text.bad(), kNotFound, "[file] {}: cannot be read", path);
  return std::move(text).str();
}

void write_whole(const std::string& path, std::string_view text) {
  std::ofstream stream(path, std::ios::binary);
  stream << text;
  stream.close();
  LK_REQUIRE(stream.good(), kNotFound, "[file] {}: cannot be written", path);
}

std::string prompt_text(const PromptOptions& options) {
  std::string text = options.file.empty() ? "" : read_whole(options.file);
  text += options.text;
  LK_REQUIRE(!text.empty(), kInvalidArgument, "no text: give -p TEXT, -f FILE or both");
  return text;
}

std::string machine_name() {
  const std::string cores = std::to_string(std::thread::hardware_concurrency()) + " cores";
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);)
    if (const size_t colon = line.find(": "); line.starts_with("model name") && colon != std::string::npos)
      return line.substr(colon + 2) + ", " + cores;
  return cores;
}

int64_t peak_resident_bytes() {
  struct rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

}  // namespace lowkey::cli
