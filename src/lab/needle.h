// needle: secret codes hidden in a long text, and the questions that ask for them. A model that answers has
// read, over its whole context, the few keys that mattered; a method that skips them is found out at once.
// The wording is that of the bundled model's training, token for token (models/README.md).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace lowkey {

struct Needle {
  std::string noun;    // "lantern"; no two needles of a document share one
  std::string code;    // six digits
  double depth = 0.5;  // [0, 1]: the part of the text that stands before it
};

// `count` needles of different nouns, spread evenly: the i-th at depth (i + 1/2) / count. The same seed draws the
// same needles everywhere. Throws kInvalidArgument for a count outside [1, 44].
std::vector<Needle> draw_needles(int count, uint64_t seed);
// The same at these depths, and after them `distractors` more that are spread evenly: statements of the same form,
// whose codes nobody asks for. 1 to 44 in all; depths are checked by hide_needles().
std::vector<Needle> draw_needles(std::span<const double> depths, int distractors, uint64_t seed);

// Depths of `count` needles spread evenly: (i + 1/2) / count.
std::vector<double> even_depths(int count);

// The document: the beginning of `text` with the needles at their depths, `length` tokens in all, bos included if
// the tokenizer wants one. Throws kInvalidArgument when the text is too short, the length too small for the
// needles, or a depth out of range.
std::vector<int32_t> hide_needles(const Tokenizer&, std::string_view text, std::span<const Needle> needles,
                                  int64_t length);

// What follows the document; the answer begins with " " and the code.
std::string needle_question(const Needle&);

// Whether a generated continuation of the question says the code, and no longer number.
bool answers_needle(const Needle&, std::string_view continuation);

}  // namespace lowkey
