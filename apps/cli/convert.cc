// lowkey convert: a Hugging Face folder to one GGUF file.
#include <fmt/format.h>

#include <filesystem>

#include "apps/cli/options.h"
#include "apps/cli/progress.h"
#include "apps/cli/signals.h"
#include "apps/cli/verbs.h"
#include "base/error.h"
#include "model/hf_to_gguf.h"

namespace lowkey::cli {
namespace {

struct ConvertOptions {
  std::string folder;
  std::string out;
  std::string type = "q8_0";
  int threads = 0;
};

constexpr DType kTypes[] = {DType::kF32,  DType::kF16,  DType::kBF16, DType::kQ8_0, DType::kQ6_K,
                            DType::kQ5_K, DType::kQ5_1, DType::kQ5_0, DType::kQ4_K, DType::kQ4_1,
                            DType::kQ4_0, DType::kQ3_K, DType::kQ2_K};
constexpr const char* kTypeWords = "f32, f16, bf16, q8_0, q6_k, q5_k, q5_1, q5_0, q4_k, q4_1, q4_0, q3_k or q2_k";

DType parse_weight_type(const std::string& word) {
  for (DType type : kTypes)
    if (word == name(type)) return type;
  throw Error(ErrorKind::kInvalidArgument, fmt::format("--type '{}', must be {}", word, kTypeWords));
}

void run(const ConvertOptions& o) {
  const Context context(o.threads);
  Progress progress("converting", "tensors");
  hf_to_gguf(context, o.folder, o.out, parse_weight_type(o.type), [&](int64_t done, int64_t total) {
    LK_REQUIRE(!interrupted(), kInvalidArgument, "interrupted; {} was not written", o.out);
    progress.update(done, total);
  });
  progress.clear();
  fmt::print(stderr, "{}: {:.1f} MB\n", o.out, static_cast<double>(std::filesystem::file_size(o.out)) / 1e6);
}

}  // namespace

void add_convert(CLI::App& app) {
  auto options = std::make_shared<ConvertOptions>();
  CLI::App* verb = app.add_subcommand("convert", "turn a Hugging Face folder into a GGUF file");
  verb->add_option("HF_FOLDER", options->folder, "config.json, *.safetensors, tokenizer.json")->required();
  verb->add_option("-o,--output", options->out, "the file to write")->required();
  verb->add_option("--type", options->type, fmt::format("type of the matrices: {}", kTypeWords))->capture_default_str();
  verb->add_option("-t,--threads", options->threads, "cores to use; 0: all")->check(CLI::Range(0, 1024));
  verb->callback([options] { run(*options); });
}

}  // namespace lowkey::cli
