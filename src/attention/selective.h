// Selective: what all methods share that rank the cached tokens and read the best of them: how many, which always,
// when to read everything after all. A method adds only its ranking.
#pragma once

#include <string_view>

#include "attention/method.h"
#include "attention/settings.h"

namespace lowkey {

enum class PrefillMode {
  kDense,   // prompts read everything
  kSparse,  // chunks past the first select
  kAll,     // every row of a prompt selects, as the papers evaluate
};

struct SelectiveOptions {
  Amount k = part(1. / 16);       // tokens chosen besides sink and recent
  int64_t sink = 4, recent = 64;  // always read: the first, the last
  double share = 1;               // p: below 1, only as many of the k as hold this share of the estimated mass
  Amount least = tokens(128);     // kmin: with p, at least
  int dense_layers = 0;           // the first layers read everything
  int64_t min_tokens = 0;         // shorter sequences are read whole; "min=auto" leaves the default
  PrefillMode prefill = PrefillMode::kDense;
  bool per_query_head = false;  // a list for each query head instead of one for its group
};

// The settings that every such method has, and their names for the spec. Throws kInvalidArgument.
inline constexpr std::string_view kSelectiveKeys[] = {"k",    "sink", "recent",       "p",
                                                      "kmin", "min",  "dense_layers", "prefill"};
SelectiveOptions read_selective_options(const Settings&, SelectiveOptions defaults);

// What part of the sum of 2^key over all tokens the list holds. keys: [length], of which the first are overwritten.
float share_of(float* keys, int64_t length, const TokenList&) noexcept;

class Selective : public Method {
 public:
  explicit Selective(const SelectiveOptions& options) : options_(options) {}

  Selection select(const LayerStep&, View q) const final;

 protected:
  const SelectiveOptions& options() const noexcept { return options_; }
  // Tokens that are ranked and chosen together, from the start of the sequence on. Budgets are rounded up to it.
  virtual int unit() const noexcept { return 1; }
  // The ranking. rows: [N] the cache as each row sees it; q: [N, H, D], a copy that may be changed; keys: out
  // [N, KH, units] f32 ([N, H, units] per query head): the higher, the sooner read (score_keys.h); scores: out
  // [N, H, units] f32, what note() wants to know of each query head, or none. Called outside parallel regions.
  virtual void score(const LayerStep&, std::span<const KvPages> rows, View q, View keys, View scores) const = 0;
  // Whether there is a note() of a row, [H] f32, for attend() in Selection::notes. Rows without a list have none.
  virtual bool notes() const noexcept { return false; }
  // scores: as score() left them, may be changed; lists: [N * KH] what was chosen of rows; notes: out [N, H].
  virtual void note(const LayerStep&, std::span<const KvPages>, View /*scores*/, std::span<const TokenList>,
                    View /*notes*/) const {}
  // Bytes that ranking `length` tokens of a KV head reads.
  virtual int64_t score_bytes(const LayerStep&, int64_t length) const noexcept = 0;

 private:
  struct Rows;
  bool selects(const LayerStep&, size_t sequence, int64_t length) const noexcept;
  void rank(const LayerStep&, const Rows&, TokenList* lists, Selection&) const;

  SelectiveOptions options_;
};

}  // namespace lowkey
