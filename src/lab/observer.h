// observer: what a method chose, beside what it should have chosen. It stands before a method, passes everything on,
// and looks at the selection that comes back.
//
// The measure is exact top-k with the same budget: for each list of tokens, as many of the best by their exact keys
// (softmax per query head, maximum over the group) as the list has besides the first and last ones that are always
// read. recall = |chosen and exact| / |exact|; Jaccard = |chosen and exact| / |chosen or exact|. Tokens that are always
// read count in neither. The output error of a query head is |out - exact| / |exact| (lengths of vectors), where
// `exact` attends with the same query to every token that is still in the cache.
#pragma once

#include <string>
#include <vector>

#include "attention/method.h"
#include "attention/settings.h"

namespace lowkey {

struct AttentionSpec;

// Tokens that are read whatever their rank.
struct AlwaysRead {
  Amount sink = tokens(4), recent = tokens(64);
};
// As the spec says; else none in a paper's form, and 4 and 64 otherwise, whatever the method's own defaults are. A list
// with no other tokens is judged by those two (budget_of in observer.cc).
AlwaysRead always_read(const AttentionSpec&);

// A method to measure, under the name that results have.
struct ComparedMethod {
  std::string name;
  const Method* method;
  AlwaysRead always;
};

struct LayerObservation {
  int64_t lists = 0;                // looked at; one that reads everything has recall 1
  double recall = 0, jaccard = 0;   // in sum over them
  int64_t query_heads = 0;          // looked at
  double mass = 0, exact_mass = 0;  // of their softmax, held by all tokens read; by those of exact top-k; in sum
  double output_error = 0;          // in sum over them

  void add(const LayerObservation&) noexcept;
};

struct Observation {
  std::vector<LayerObservation> layers;  // [L] of every `every`-th row
  std::vector<LayerObservation> heads;   // [L * H] the same by query head; a list that heads share counts for each
  int64_t pairs = 0;                     // of a row and a KV head, over all layers
  int64_t cached = 0;                    // tokens they had before them, in sum
  int64_t read = 0;                      // tokens of their lists, in sum; of query heads' lists each
  int64_t index_bytes = 0;               // read to find them

  void add(const Observation&);
};

class Observer final : public Method {
 public:
  // Rows 0, `every`, 2 `every`, ... of each step are compared with exact top-k; 0: none, as where rows are no tokens.
  // Keeps references.
  Observer(const Method& inner, const AlwaysRead& always, int every, Observation& out)
      : inner_(inner), always_(always), every_(every), out_(out) {}

  std::vector<int64_t> planes(const AttentionShape&, DType kv_type, int page_tokens) const override;
  int64_t kept(const StepEnd& end) const noexcept override { return inner_.kept(end); }
  bool steps_matter() const noexcept override { return inner_.steps_matter(); }
  bool replays() const noexcept override { return inner_.replays(); }
  int64_t replayable(int64_t tokens) const noexcept override { return inner_.replayable(tokens); }
  bool rows_are_tokens() const noexcept override { return inner_.rows_are_tokens(); }
  void to_cache_space(const LayerStep& step, View q) const override { inner_.to_cache_space(step, q); }
  void project(const LayerStep& step, View x, const Qkv& qkv) const override { inner_.project(step, x, qkv); }
  void append(const LayerStep& step, const Qkv& qkv) const override { inner_.append(step, qkv); }
  void move_row(const LayerStep& step, const KvPages& kv, int head, int64_t from, int64_t to) const override {
    inner_.move_row(step, kv, head, from, to);
  }
  Selection select(const LayerStep& step, View q) const override { return inner_.select(step, q); }
  void attend(const LayerStep&, View q, const Selection&, View out) const override;

 private:
  struct Sample;
  void count(const LayerStep&, const Selection&) const;
  View exact_outputs(const LayerStep&, View q) const;
  void compare(const LayerStep&, View q, const Selection&) const;
  void compare(const LayerStep&, const Sample&) const;
  void compare_outputs(const LayerStep&, View exact, View out) const;
  LayerObservation& head(const LayerStep&, int64_t h) const noexcept;

  const Method& inner_;
  AlwaysRead always_;
  int every_;
  Observation& out_;
};

}  // namespace lowkey
