// needle_trials: how many of the codes hidden in long documents (needle.h) each method finds. A document is read once
// with dense attention; each method goes on from there (replay.h) and is asked for one code after another, each time as
// if it were the first. The methods should select for every row of a prompt (with_every_row), or the question is read
// with dense attention.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lab/needle.h"
#include "lab/observer.h"
#include "lab/units.h"
#include "model/model.h"
#include "text/tokenizer.h"

namespace lowkey {

struct NeedleOptions {
  std::vector<int64_t> lengths{8192};  // tokens a document
  int documents = 6;                   // of each length: the texts in turn, with codes of their own
  int codes = 4;                       // hidden in each, spread evenly over its depths
  std::vector<double> depths;          // where they are hidden instead, 0 to 1; none: `codes` of them
  bool alone = false;                  // each code in a document that has no other
  int distractors = 0;                 // statements of codes that nobody asks for, in every document
  int chunk = 512;                     // tokens a step
  DType kv_type = DType::kF16;
};

struct NeedleTrial {
  int64_t length = 0;
  int document = 0;
  Needle needle;
  std::string said;  // greedily, until it is clear, as base/printable.h shows it
  bool found = false;
  double nll = 0;  // of the true answer, nats a token
  double seconds = 0;
};

// False ends the run; the results then cover what is done.
using NeedleProgress = std::function<bool(int64_t done, int64_t total, std::string_view method)>;

// The trials of each method, in the methods' order: by length, document and depth. `text` holds documents separated by
// NUL bytes; those shorter than a length are left out there. Throws kInvalidArgument when none is long enough, or an
// option is out of range. Units: the questions.
std::vector<std::vector<NeedleTrial>> needle_trials(const Context&, const Model&, const Tokenizer&,
                                                    std::span<const ComparedMethod>, std::string_view text,
                                                    const NeedleOptions&, const NeedleProgress&,
                                                    const Units<NeedleTrial>& = {});

}  // namespace lowkey
