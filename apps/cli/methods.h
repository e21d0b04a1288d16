// Opening a method as a front end does: with the calibration given, or the one beside the model, or one fitted from the
// prompt; and with the length from which it pays on this machine.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "attention/spec.h"
#include "base/context.h"
#include "model/model.h"

namespace lowkey::cli {

// MODEL.gguf has its calibration in MODEL.calibration.safetensors, a folder in its calibration.safetensors. Empty when
// there is none.
std::filesystem::path calibration_beside(const std::filesystem::path& model);

// Loads `file`, or without one what lies beside the model; null when there is neither. Throws as Calibration::load
// does, and when the file was made for another model.
std::shared_ptr<const Calibration> open_calibration(const std::string& file, const std::filesystem::path& model_path,
                                                    const Model&);

struct OpenedMethod {
  std::unique_ptr<Method> method;
  std::string spec;                 // as it runs, with what was measured or chosen filled in
  std::string calibration;          // the file, "prompt" when fitted from it, "" for none
  int64_t calibration_context = 0;  // positions that it saw; 0: no calibration
};

struct MethodRequest {
  std::string spec;
  std::string calibration;  // a file, or ""
  std::string model;        // its path
  std::span<const int32_t> prompt;
  int64_t tokens = 0;  // of prompt and answer at most; 0: not known
};
// A prompt too short to fit from is read whole: the method is `dense` then. Says on stderr what was fitted, and when
// the text is longer than what a file was made from.
OpenedMethod open_method(const Context&, const Model&, DType kv_type, const MethodRequest&);

}  // namespace lowkey::cli
