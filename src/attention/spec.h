// AttentionSpec: the words that choose a method and its settings, the same in every front end:
// "dense", "loki:k=1/16,index=bits:128". Grammar: NAME [":" KEY "=" VALUE ("," KEY "=" VALUE)*], and any of these
// "+h2o..." for a cache of limited size that the first one reads, or loki "+atp..." for one of old tokens in short
// form.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "attention/method.h"

namespace lowkey {

struct AttentionSpec {
  std::string name;
  std::map<std::string, std::string, std::less<>> settings;
  std::shared_ptr<const AttentionSpec> cache;  // what comes after "+"; null: the cache keeps everything

  std::string text() const;  // canonical: settings in order of their keys
};

// Throws kInvalidArgument naming the allowed methods or keys.
AttentionSpec parse_attention_spec(std::string_view text);

// The same, but with every row of a prompt selecting for itself (prefill=all), where the method can: how the papers
// evaluate. A method that evicts stays as it is: whoever judges it feeds one token at a time (Method::steps_matter).
AttentionSpec with_every_row(AttentionSpec);

// Whether the method has such a setting.
bool has_setting(const AttentionSpec&, std::string_view key);

// Whether the method works from what a calibration learned of the model's keys.
bool needs_calibration(const AttentionSpec&);

// Whether the method reads short sequences whole, from a length on that is best measured (lab/crossover.h).
bool has_measured_minimum(const AttentionSpec&);

struct Calibration;

// What a method may need of the model that it serves.
struct MethodInputs {
  AttentionShape shape;
  std::shared_ptr<const Calibration> calibration;  // null: none
};
// Throws kInvalidArgument for a value out of range, or when the method needs a calibration and there is none.
std::unique_ptr<Method> make_method(const AttentionSpec&, const MethodInputs&);

}  // namespace lowkey
