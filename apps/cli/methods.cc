#include "apps/cli/methods.h"

#include <fmt/format.h>

#include "attention/calibration.h"
#include "base/error.h"
#include "engine/online_calibration.h"
#include "lab/crossover.h"

namespace lowkey::cli {

namespace fs = std::filesystem;

fs::path calibration_beside(const fs::path& model) {
  fs::path file = fs::is_directory(model) ? model / "calibration.safetensors"
                                          : fs::path(model).replace_extension(".calibration.safetensors");
  return fs::exists(file) ? file : fs::path{};
}

std::shared_ptr<const Calibration> open_calibration(const std::string& given, const fs::path& model_path,
                                                    const Model& model) {
  const fs::path file = given.empty() ? calibration_beside(model_path) : fs::path(given);
  if (file.empty()) return nullptr;
  auto calibration = std::make_shared<Calibration>(Calibration::load(file));
  calibration->require_model(model.fingerprint(), file);
  return calibration;
}

namespace {

// Null when the prompt is too short.
std::shared_ptr<const Calibration> fit_from(const Context& context, const Model& model,
                                            std::span<const int32_t> prompt) {
  const auto least = static_cast<size_t>(16 + model.shape().attention.head_dim);
  if (prompt.size() < least) return nullptr;
  fmt::print(stderr,
             "no calibration file: fitting one from the prompt's first {} tokens (lowkey calibrate makes one "
             "that serves every prompt, and ranks better)\n",
             std::min<size_t>(prompt.size(), 4096));
  return std::make_shared<Calibration>(fit_online(context, model, prompt));
}

// Keys after RoPE turn with position: beyond the positions that a calibration saw, it knows them less well.
void warn_of_length(int64_t calibrated, int64_t tokens) {
  if (tokens <= calibrated) return;
  fmt::print(stderr,
             "calibrated on windows of {} tokens, this text has {}: the ranking gets worse past {} (lowkey calibrate "
             "--context {})\n",
             calibrated, tokens, calibrated, tokens);
}

}  // namespace

OpenedMethod open_method(const Context& context, const Model& model, DType kv_type, const MethodRequest& request) {
  AttentionSpec spec = parse_attention_spec(request.spec);
  OpenedMethod opened;
  MethodInputs inputs{.shape = model.shape().attention, .calibration = nullptr};
  if (needs_calibration(spec)) {
    inputs.calibration = open_calibration(request.calibration, request.model, model);
    opened.calibration = !inputs.calibration           ? "prompt"
                         : request.calibration.empty() ? calibration_beside(request.model).string()
                                                       : request.calibration;
    if (inputs.calibration) warn_of_length(inputs.calibration->context, request.tokens);
    if (!inputs.calibration) inputs.calibration = fit_from(context, model, request.prompt);
    if (!inputs.calibration) {
      fmt::print(stderr, "no calibration file, and the prompt is too short to fit one from: reading every key\n");
      spec = parse_attention_spec("dense"), opened.calibration.clear();
    }
  }
  if (inputs.calibration) opened.calibration_context = inputs.calibration->context;
  spec = with_measured_minimum(context, spec, inputs, kv_type);
  opened.method = make_method(spec, inputs);
  opened.spec = spec.text();
  return opened;
}

}  // namespace lowkey::cli
