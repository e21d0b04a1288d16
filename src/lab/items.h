// items: questions with known answers, from a file of JSON lines, and what each method answers.
//
//   {"prompt": "The sky is", "choices": [" blue", " green"], "answer": 0}        by likelihood: which choice
//   {"prompt": "Q: 2 + 2\nA:", "answer": "4"}                                     by what is said: exact match
//
// A choice is read right after the prompt, its tokens made apart from the prompt's: it brings the space it needs.
// "answer" of choices is the index or the very text of one. Without choices it is a text, or a list of texts that are
// all right; what is said ends at "stop" (a text, "\n" without it), and is compared without spaces around it. A line
// may have a "context", a long text before the prompt: it is read once with dense attention for all methods
// (replay.h); the prompt and what follows it are read by the method, every row selecting for itself.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lab/observer.h"
#include "lab/units.h"
#include "model/model.h"
#include "text/tokenizer.h"

namespace lowkey {

struct Item {
  std::string context, prompt;
  std::vector<std::string> choices;  // none: the answer is said
  size_t answer = 0;                 // of the choices
  std::vector<std::string> answers;  // without choices
  std::string stop = "\n";
};

// `place` names the file. Throws kCorruptFile naming the line: no JSON, a key missing, unknown or of another type, no
// prompt, fewer than two choices, an answer that is none of them. Empty lines are left out.
std::vector<Item> parse_items(std::string_view json_lines, const std::string& place);

struct ItemOptions {
  int most = 64;    // tokens said
  int chunk = 512;  // tokens a step
  DType kv_type = DType::kF16;
};

struct ItemResult {
  std::vector<double> nll;    // of each choice, nats, in sum
  size_t chosen = 0;          // the most likely one
  size_t chosen_by_byte = 0;  // the most likely one by nats a byte, which is fairer to long choices
  std::string said;           // without choices; as base/printable.h shows it
  bool right = false;
  bool right_by_byte = false;
  double seconds = 0;
};

// False ends the run; the results then cover what is done.
using ItemProgress = std::function<bool(int64_t done, int64_t total, std::string_view method)>;

// The results of each method, in the methods' order. Throws kInvalidArgument. Units: the items.
std::vector<std::vector<ItemResult>> answer_items(const Context&, const Model&, const Tokenizer&,
                                                  std::span<const ComparedMethod>, std::span<const Item>,
                                                  const ItemOptions&, const ItemProgress&,
                                                  const Units<ItemResult>& = {});

// Whether what was said, up to `stop`, is one of the answers.
bool answers_item(const Item&, std::string_view said);

}  // namespace lowkey
