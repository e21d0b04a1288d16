// What the tasks of `lowkey eval` have in common; each prints its table and returns its part of the JSON.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "apps/cli/options.h"
#include "lab/observer.h"

namespace lowkey::cli {

struct EvalOptions {
  CommonOptions common;
  std::vector<std::string> attention{"dense"};
  std::vector<std::string> tasks{"perplexity"};
  std::string text, json_file;
  int64_t context = 0;  // tokens a window or document; 0: the task's own choice
  int64_t windows = 0;  // 0: all
  int chunk = 512;
  int64_t scored = 512;
  int documents = 6, codes = 4;
  bool per_layer = false;
};

struct Evaluation {
  const EvalOptions& options;
  const Context& context;
  const Model& model;
  const Tokenizer& tokenizer;
  const std::string& text;
  MethodInputs inputs;

  DType kv_type() const { return parse_kv_type(options.common.kv_type); }
  int64_t length(int64_t standard) const { return options.context > 0 ? options.context : standard; }
  // As it is judged: every row selects, and at every length.
  std::unique_ptr<Method> method(const std::string& spec) const;
  // In the order of --attention.
  std::vector<std::unique_ptr<Method>> methods() const;
  // The same with their names; refers to them.
  std::vector<ComparedMethod> compared(std::span<const std::unique_ptr<Method>> methods) const;
  size_t name_width() const;  // of the longest
};

nlohmann::json eval_agreement(const Evaluation&);
nlohmann::json eval_needle(const Evaluation&);

// null where JSON has no word for it: NaN, infinity.
nlohmann::json finite(double);

}  // namespace lowkey::cli
