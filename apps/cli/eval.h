// What the tasks of `lowkey eval` have in common; each prints its table and returns its part of the JSON.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "apps/cli/journal.h"
#include "apps/cli/options.h"
#include "lab/observer.h"
#include "lab/protocol.h"
#include "lab/statistics.h"
#include "lab/units.h"

namespace lowkey::cli {

struct EvalOptions {
  CommonOptions common;
  std::vector<std::string> attention{"dense"};  // dense first, once the options have been read
  std::vector<std::string> tasks{"perplexity"};
  std::string text, data, json_file, report, resume;
  int64_t context = 0;   // tokens a window or document; 0: the task's own choice
  int64_t windows = -1;  // 0: all; -1: as many as hold kWindowTokens
  int64_t stride = 0;    // perplexity: from one window to the next; 0: context
  std::string protocol = "decode";
  int chunk = 512;
  int64_t scored = 512;
  int documents = 6, codes = 4, distractors = 0;
  std::vector<int64_t> lengths;
  std::vector<double> depths;
  bool alone = false;
  int most = 64;
  bool per_layer = false;
};

struct Evaluation {
  const EvalOptions& options;
  const Context& context;
  const Model& model;
  const Tokenizer& tokenizer;
  const std::string& text;
  const std::vector<int32_t>& stream;  // of the text; empty when no task reads windows of it
  const std::string& data;
  MethodInputs inputs;
  std::span<const ComparedMethod> methods;  // in the order of --attention, as decoding has them (lab/protocol.h)
  Journal& journal;

  DType kv_type() const { return parse_kv_type(options.common.kv_type); }
  int64_t length(int64_t standard) const { return options.context > 0 ? options.context : standard; }
  int64_t windows(int64_t context) const;
  size_t name_width() const;  // of the longest

  // The journal's part of a task, whose results JSON can hold (eval_units.h). first: the method that is number 0.
  template <typename T>
  Units<T> units(const char* task, size_t first = 0) const {
    const auto spec = [this, first](size_t method) { return options.attention[first + method]; };
    return {.known = [this, task, spec](size_t method, size_t unit) -> std::optional<T> {
              const nlohmann::json* found = journal.find(task, spec(method), unit);
              if (found == nullptr) return std::nullopt;
              try {
                return found->get<T>();
              } catch (const nlohmann::json::exception&) {
                return std::nullopt;  // a number that JSON has no word for: it is measured again
              }
            },
            .done = [this, task, spec](size_t method, size_t unit,
                                       const T& result) { journal.add(task, spec(method), unit, result); }};
  }
};

nlohmann::json eval_perplexity(const Evaluation&);
nlohmann::json eval_agreement(const Evaluation&);
nlohmann::json eval_needle(const Evaluation&);
nlohmann::json eval_rank(const Evaluation&);
nlohmann::json eval_choice(const Evaluation&);
nlohmann::json eval_generate(const Evaluation&);

// null where JSON has no word for it: NaN, infinity.
nlohmann::json finite(double);
nlohmann::json interval_json(const Interval&);  // {"low": ..., "high": ...}

}  // namespace lowkey::cli
