// Method: the seam between how a model computes and which keys it reads. A method is a policy: it decides
// what to project, what to store beside K and V, which tokens to read. It owns no memory, no threads and no
// state of a sequence, so one object serves every sequence and layer.
//
// The model calls, for each layer and step:  project -> append -> select -> attend.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/context.h"
#include "base/view.h"
#include "ops/attention_decode.h"
#include "ops/kv_pages.h"
#include "ops/rope.h"

namespace lowkey {

struct AttentionShape {
  int layers = 0;
  int heads = 0;     // H
  int kv_heads = 0;  // KH, divides H
  int head_dim = 0;  // D
  int width = 0;     // C
  RopeLayout rope_layout = RopeLayout::kHalf;
  bool causal = true;     // a token reads those before it; false in encoders: all tokens of its text
  float score_scale = 0;  // of q . k; 0: 1 / sqrt(D)
  float score_cap = 0;    // above 0: scores x become cap tanh(x / cap)
  int64_t window = 0;     // the shortest that a layer has, 0: none has; a layer's own is in LayerStep

  float scale() const noexcept {
    return score_scale > 0 ? score_scale : 1.0f / std::sqrt(static_cast<float>(head_dim));
  }
};

// The weights of one layer's projections, rows as outputs; biases are f32, or none.
struct Projections {
  View q;  // [H * D, C]
  View k;  // [KH * D, C]
  View v;  // [KH * D, C]
  View q_bias = {}, k_bias = {}, v_bias = {};
  View output = {};               // [C, H * D], what follows attention; or none: not known
  View q_norm = {}, k_norm = {};  // [D] f32, or none: gains of an RMSNorm of each head, before RoPE
  float norm_epsilon = 0;
};

// One layer of one step: T new tokens of B sequences, the sequences one after another.
struct LayerStep {
  const Context& context;
  Scratch::Frame& frame;  // for what must live until the layer is done
  const AttentionShape& shape;
  int layer;
  const Projections& projections;
  std::span<const KvPages> kv;         // [B]; lengths already count this step's tokens
  std::span<const int32_t> counts;     // [B]; new tokens of each sequence, T in sum
  std::span<const int32_t> positions;  // [T]
  View inverse_frequency;              // [R / 2] f32, R <= D, or none: positions are in x already
  RopeLayout rope_layout;
  bool estimates = false;    // whether select() should also say what its lists hold, which takes a pass over all tokens
  float rope_amplitude = 1;  // what RoPE turns is multiplied by it
  int64_t window = 0;        // above 0: a token reads the last so many tokens up to its own

  // How many of the `length` tokens up to its own a token may read: the last ones.
  int64_t visible(int64_t length) const noexcept { return window > 0 ? std::min(window, length) : length; }
};

struct Qkv {
  View q;  // [T, H, D] f32
  View k;  // [T, KH, D] f32
  View v;  // [T, KH, D] f32
};

// Which cached tokens each new token reads. Shared by the query heads of a KV head, or one list for each query head.
struct Selection {
  std::span<const TokenList> tokens;  // [T * KH] or [T * H], ids within the window, or empty: all that it may read
  // With LayerStep::estimates, from a method that ranks: f32, one for each list, the part of the softmax of the
  // ranking's scores that its tokens hold. What p=... goes by; shared lists count a token as the head does that wants
  // it most.
  View mass = {};
  View notes = {};            // [T, n] f32 that select() leaves for attend() of the same method, or none
  int64_t index_bytes = 0;    // read to find them
  double score_seconds = 0;   // ranking all cached tokens
  double select_seconds = 0;  // choosing among them

  // Bytes that finding and reading them takes from memory, in this layer.
  int64_t bytes_read(const LayerStep&) const noexcept;
};

// A sequence at the end of a step.
struct StepEnd {
  int64_t length;  // rows in the cache
  int64_t seen;    // tokens so far, evicted ones too
  int32_t count;   // of them, in this step
};

class Method {
 public:
  virtual ~Method() = default;

  // Bytes of side data that the cache keeps for a page of P tokens of a KV head, one entry per plane, at most
  // KvPages::kMaxPlanes. Throws kInvalidArgument when the method cannot work with such pages.
  virtual std::vector<int64_t> planes(const AttentionShape&, DType kv_type, int page_tokens) const;
  // How many rows of a sequence remain after a step; the method has moved those that it wants to keep to the front by
  // then, in every layer. Default: all.
  virtual int64_t kept(const StepEnd& end) const noexcept { return end.length; }
  // Whether decoding makes it drop rows at all. Then a step cannot be repeated.
  bool evicts() const noexcept {
    constexpr int64_t kMany = int64_t{1} << 40;
    return kept({.length = kMany, .seen = kMany, .count = 1}) < kMany;
  }

  // Whether what a row reads depends on the steps in which its text comes. Then rows are judged one step each.
  virtual bool steps_matter() const noexcept { return evicts(); }

  // Whether K, V and side data of a sequence follow from its keys and values alone, so that append() may write the same
  // tokens again from a copy of them. False when they remember what queries read.
  virtual bool replays() const noexcept { return true; }
  // Of how many of the first tokens of a sequence that is so in any case.
  virtual int64_t replayable(int64_t tokens) const noexcept { return replays() ? tokens : 0; }
  // Whether a row of the cache is the key and the value of a token, and lists name rows. False for short forms.
  virtual bool rows_are_tokens() const noexcept { return true; }
  // Turns queries into the space in which this method keeps keys, in place; their products are unchanged.
  // q: [T, H, D]. Default: nothing, keys are kept as they are.
  virtual void to_cache_space(const LayerStep&, View q) const;

  // Copies the row of a token over that of another, for methods that evict. With planes: override, copy their data.
  virtual void move_row(const LayerStep&, const KvPages&, int head, int64_t from, int64_t to) const;

  // Whether it serves encoders too, where every token reads its whole text and the cache holds one layer at a time.
  virtual bool bidirectional() const noexcept { return false; }

  // x: [T, C] -> qkv, q and k rotated. Default: three products, their biases and RoPE.
  virtual void project(const LayerStep&, View x, const Qkv& qkv) const;
  // Writes K and V (and a method's side data) of the step's tokens. Default: ops/kv_append.
  virtual void append(const LayerStep&, const Qkv& qkv) const;
  // q: [T, H, D], rotated by position, as attend() will get it. Lists live in the step's frame.
  virtual Selection select(const LayerStep&, View q) const = 0;
  // q: [T, H, D] -> out [T, H, D]. Default: exact attention over the selection; a sequence's prompt chunk whose lists
  // are all null attends to every token that it may read.
  virtual void attend(const LayerStep&, View q, const Selection&, View out) const;
};

// Rows [begin, begin + count) of a [T, H, D] view.
View rows_of(View x, int64_t begin, int64_t count);

// q, k and v of x as the weights give them: products, biases and norms, without RoPE.
void project_unrotated(const LayerStep&, View x, const Qkv& qkv);
// RoPE of q or k: [T, H, D].
void rotate(const LayerStep&, View x, std::span<const int32_t> positions);

// The cache as each new token of the step sees it: its own sequence, cut after the token. [T], in the step's frame.
std::span<const KvPages> row_pages(const LayerStep&);

// For methods that read or write numbers of the cache as they lie. Throws kUnsupported for kI8 and kI8I4, whose rows
// have scales.
void require_float_cache(std::string_view method, DType kv_type);

}  // namespace lowkey
