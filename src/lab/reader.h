// Reader: one method reading on from what a branch holds (replay.h): what it expects to come, and what it says. As in
// decoding, where the method lets it: every row of a prompt selects for itself (with_every_row), and a method
// to which steps matter reads a token at a time.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "lab/replay.h"
#include "text/tokenizer.h"

namespace lowkey {

class Reader {
 public:
  // chunk: tokens a step, >= 1. Keeps references.
  Reader(const Context& context, const Model& model, const Method& method, int chunk)
      : context_(context), model_(model), method_(method), chunk_(method.steps_matter() ? 1 : chunk) {}

  // The logits [V] after the last of the tokens, at least one.
  std::vector<float> read(Branch&, std::span<const int32_t> tokens) const;
  // The negative log-likelihood of `tokens` in nats, in sum, when they are read after what the branch holds, which
  // stays as it is. logits: [V], those after it.
  double nll(const Branch&, std::span<const float> logits, std::span<const int32_t> tokens) const;
  // What it says, each time the most likely token, until `enough` of what it has said so far, a token that ends all,
  // or `most` tokens. logits: [V], as read() returned them; the branch needs room for `most` tokens.
  std::string say(const Tokenizer&, Branch&, std::vector<float> logits, int most,
                  const std::function<bool(const std::string&)>& enough) const;

 private:
  const Context& context_;
  const Model& model_;
  const Method& method_;
  int chunk_;
};

}  // namespace lowkey
