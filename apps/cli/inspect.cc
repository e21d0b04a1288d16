// lowkey inspect: what a model file, or a calibration file, holds.
#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "apps/cli/calibration_report.h"
#include "apps/cli/inspect_encoder.h"
#include "apps/cli/options.h"
#include "apps/cli/verbs.h"
#include "base/printable.h"
#include "model/checkpoint.h"
#include "model/encoder.h"
#include "model/model.h"
#include "model/tokenizer_loader.h"

namespace lowkey::cli {
namespace {

struct InspectOptions {
  std::string model;
  bool json = false;
  bool tensors = false;
};

nlohmann::json summary(const Checkpoint& checkpoint, const Model& model, const Tokenizer& tokenizer) {
  const ModelConfig& config = checkpoint.config();
  const AttentionShape& a = model.shape().attention;
  return {{"model", checkpoint.path()},
          {"architecture", config.family->architecture},
          {"layers", a.layers},
          {"width", a.width},
          {"heads", a.heads},
          {"kv_heads", a.kv_heads},
          {"head_dim", a.head_dim},
          {"ffn", config.ffn},
          {"vocabulary", model.shape().vocabulary},
          {"context", model.shape().context},
          {"rope_base", config.rope.base},
          {"rope_scaling", name(config.rope.scaling)},
          {"tied_embeddings", config.tied},
          {"weight_bytes", model.weight_bytes()},
          {"kv_bytes_per_token_16bit", int64_t{4} * a.layers * a.kv_heads * a.head_dim},
          {"tokenizer_tokens", tokenizer.vocabulary_size()}};
}

std::string describe(const GgufArray& array) {
  return std::visit([](const auto& values) { return fmt::format("[{} values]", values.size()); }, array.values);
}

std::string describe(const GgufValue& value) {
  return std::visit(
      [](const auto& v) -> std::string {
        using T = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<T, GgufArray>) {
          return describe(v);
        } else if constexpr (std::is_same_v<T, std::string>) {
          return printable(v);
        } else {
          return fmt::format("{}", v);
        }
      },
      value);
}

void print_metadata(const Gguf& file) {
  constexpr size_t kWidest = 60;
  fmt::print("\nmetadata (GGUF v{})\n", file.version());
  for (const auto& [key, value] : file.metadata()) {
    const std::string shown = describe(value);
    fmt::print("  {:<44} {}\n", key, shown.size() > kWidest ? shown.substr(0, kWidest) + "..." : shown);
  }
}

void inspect_calibration(const InspectOptions& o) {
  const Calibration calibration = Calibration::load(o.model);
  const nlohmann::json facts = calibration_facts(calibration);
  constexpr auto kReplace = nlohmann::json::error_handler_t::replace;
  if (o.json) {
    fmt::print("{}\n", facts.dump(2, ' ', false, kReplace));
    return;
  }
  for (const char* key : {"model", "tool", "layers", "kv_heads", "head_dim", "tokens", "context", "statistics"})
    fmt::print("{:<26} {}\n", key,
               facts[key].is_string() ? printable(facts[key].get<std::string>()) : facts[key].dump());
  for (const CalibrationText& text : calibration.texts)
    fmt::print("{:<26} {} ({} bytes, {})\n", "text", printable(text.name), text.bytes, printable(text.hash));
  for (BasisKind kind : kBasisKinds) {
    std::string bits;
    for (const Codebooks& books : calibration.codebooks)
      if (books.basis == kind) bits += fmt::format(" {}", books.bits);
    fmt::print("{:<26}{}\n", fmt::format("codebooks, {} basis", name(kind)), bits.empty() ? " none" : bits);
  }
  if (calibration.profile) {
    fmt::print("{:<26} {}\n", "profile (auto)", printable(calibration.profile->about, 300));
    for (size_t l = 0; l < calibration.profile->layers.size(); ++l)
      fmt::print("{:<26} {}\n", fmt::format("  layer {}", l), printable(calibration.profile->layers[l]));
  }
  fmt::print("\n");
  print_ranks(calibration);
}

void run(const InspectOptions& o) {
  // A model that is one .safetensors file comes in a folder with its config.json; a bare one is a calibration.
  std::error_code ignored;
  if (o.model.ends_with(".safetensors") && !std::filesystem::is_directory(o.model, ignored))
    return inspect_calibration(o);
  if (is_encoder(o.model)) return inspect_encoder(o.model, o.json, o.tensors);
  const auto model = lowkey::open_model(o.model);
  const Tokenizer tokenizer = load_tokenizer(o.model);
  const Checkpoint checkpoint = Checkpoint::open(o.model);
  nlohmann::json facts = summary(checkpoint, *model, tokenizer);
  if (o.json) {
    facts["tensors"] = model->describe();
    fmt::print("{}\n", facts.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
    return;
  }
  for (const auto& [key, value] : facts.items())
    fmt::print("{:<26} {}\n", key, value.is_string() ? value.get<std::string>() : value.dump());
  if (checkpoint.gguf() != nullptr) print_metadata(*checkpoint.gguf());
  if (!o.tensors) return;
  fmt::print("\ntensors\n");
  for (const std::string& line : model->describe()) fmt::print("  {}\n", line);
}

}  // namespace

void add_inspect(CLI::App& app) {
  auto options = std::make_shared<InspectOptions>();
  CLI::App* verb = app.add_subcommand("inspect", "show shapes, types and metadata of a model or a calibration");
  verb->add_option("MODEL", options->model, "a .gguf file, a Hugging Face folder or a calibration file")->required();
  verb->add_flag("--tensors", options->tensors, "list the tensors too");
  verb->add_flag("--json", options->json, "print one JSON object");
  verb->callback([options] { run(*options); });
}

}  // namespace lowkey::cli
