// atp: old tokens in short form (ATP, arXiv 2403.02352, made causal and streaming). The first tokens and the last ones
// are exact; those between are brought into a low-rank form, chunk by chunk, as they fall out of the window. What the
// short form is, the spec's `form` says (atp_factor.h, atp_centroids.h, atp_softmax.h, atp_linear.h).
//
// When a row attends that is the length-th token of its sequence, the tokens [sink, due(length)) are in short form and
// the others exact, whatever the steps in which the text was read. What a row sees follows from tokens up to itself.
// Encoders, where every token reads its whole text, have all but the first tokens in short form, as the paper has it.
#pragma once

#include <algorithm>
#include <memory>

#include "attention/method.h"
#include "attention/settings.h"

namespace lowkey {

struct AttentionSpec;
struct MethodInputs;

// How many directions: a part of the model's width (in encoders: of the tokens, as the paper counts) or a count; or
// what the inputs need.
struct AtpRank {
  Amount amount = part(0.25);
  double energy = 0;     // "0.99e": above 0, for this share of the inputs' energy
  bool entropy = false;  // "entropy": for their SVD entropy (linalg/spectrum.h)
};

// Whether the linear layers before attention run on the factor of their inputs, where a form can do that.
enum class LinearLayers : uint8_t { kAuto, kOn, kOff };  // auto: where it saves time (attention/atp_cost.h)

struct AtpOptions {
  AtpRank rank;                   // form=linear has none
  int64_t sink = 4, recent = 64;  // exact
  int64_t chunk = 256;            // tokens that are shortened together
  int64_t min = 1024;             // length from which on; the first time all tokens before the window
  int64_t width = 0;              // C
  int bits = 16;                  // of a number that form=factor keeps of an old token (atp_packed.h)
  LinearLayers linear = LinearLayers::kAuto;
  bool causal = true;
};

class Atp : public Method {
 public:
  static std::unique_ptr<Method> make(const AttentionSpec&, const MethodInputs&);
  explicit Atp(const AtpOptions& options) : options_(options) {}

  bool bidirectional() const noexcept final { return true; }

  int64_t kept(const StepEnd& end) const noexcept final { return rows(end.seen, due(end.seen)); }
  bool steps_matter() const noexcept final { return false; }
  bool replays() const noexcept final { return false; }  // what is short is no longer in the cache
  bool rows_are_tokens() const noexcept final { return false; }
  std::vector<int64_t> planes(const AttentionShape&, DType kv_type, int page_tokens) const override;
  void project(const LayerStep&, View x, const Qkv&) const override;
  Selection select(const LayerStep&, View) const final { return {}; }
  void attend(const LayerStep&, View q, const Selection&, View out) const final;

 protected:
  // The end of the tokens in short form; 0: none are.
  int64_t due(int64_t length) const noexcept;
  // R at most, of so many tokens in short form.
  int64_t rank(int64_t tokens) const noexcept;
  // Rows of the cache that hold a sequence of so many tokens, those before `end` in short form. Default: one for each.
  virtual int64_t rows(int64_t length, int64_t /*end*/) const noexcept { return length; }
  // Floats that the plane of inputs keeps of a row; 0: there is no such plane.
  virtual int64_t input_floats(int64_t /*width*/) const noexcept { return 0; }
  // Tokens of a sequence before any is shortened.
  int64_t longest_exact() const noexcept {
    return std::max(options_.min, options_.sink + options_.recent + options_.chunk) - 1;
  }

  // Brings the tokens before `end` into short form; those before `begin` are, and where none are (begin = 0) pages may
  // hold what another sequence left. `kv` holds all that the step appended.
  struct Shorten {
    const KvPages& kv;
    int64_t begin, end;
    int64_t tokens;  // of the sequence, this step's included
  };
  virtual void shorten(const LayerStep&, const Shorten&) const = 0;

  // Consecutive rows of a sequence: exact attention to the rows of `kv`, the last of which is the last row's own; in
  // encoders, to all of them.
  struct Piece {
    KvPages kv;
    View q, out;                             // [n, H, D]
    int64_t shortened;                       // tokens before this one are
    std::span<const TokenList> tokens = {};  // [n * KH] what each row reads, or empty: all; of form=factor only
  };
  virtual void read(const LayerStep&, const Piece&) const;

  const AtpOptions& options() const noexcept { return options_; }

  // Moves the rows from `from` to the end of `last` rows to the place `to`, before them, in order.
  void close_rows(const LayerStep&, const KvPages&, int64_t from, int64_t to, int64_t last) const;

 private:
  void read_texts(const LayerStep&, View q, View out) const;

  AtpOptions options_;
};

// Rows of numbers in a plane of the cache, so many a page, dealt out over its KV heads.
struct PlaneRows {
  const KvPages& kv;
  int plane;
  int64_t floats;     // of a row
  int64_t page_rows;  // of a page

  static int64_t page_bytes(int64_t page_rows, int kv_heads, int64_t floats) noexcept;
  float* row(int64_t i) const noexcept;
};

// The plane in which a form keeps the inputs of a layer, [S, C].
inline constexpr int kAtpInputs = 0;

}  // namespace lowkey
