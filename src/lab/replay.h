// replay: one dense pass over a text, continued by many methods. What a method keeps of a prompt follows from the
// prompt's keys and values alone (Method::replays), so these are computed once and handed to each method's append();
// only what comes after them is run with the method. Methods that remember what queries read run the prompt themselves,
// others the part of it from which on they keep something else (Method::replayable).
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "model/model.h"

namespace lowkey {

// A sequence in a cache of its own.
struct Branch {
  KvCache cache;
  KvCache::SequenceId sequence;

  explicit Branch(const KvShape& shape) : cache(shape), sequence(cache.open()) {}
  // The same tokens in a cache of the same shape.
  Branch copy() const;
};

// Runs the model over the branch's next tokens in one step. logits: [R, V], of the last R of them; empty: none.
// Throws kInvalidArgument when the branch has no room for them.
void advance(const Context&, const Model&, const Method&, Branch&, std::span<const int32_t> tokens, View logits);

// A prompt's keys and values as dense attention leaves them. Holds references; one thread of control at a time.
class DensePrefix {
 public:
  // chunk: tokens a step, for reading and for continuing.
  DensePrefix(const Context& context, const Model& model, DType kv_type, int chunk)
      : context_(context), model_(model), kv_type_(kv_type), chunk_(chunk), branch_(shape(1)) {}

  // Forgets the last prompt and reads this one. `after_chunk` is given the tokens read so far; false ends the reading
  // (and the result, which is false then).
  bool read(std::span<const int32_t> tokens, const std::function<bool(int64_t done)>& after_chunk);

  // The prompt as `method` keeps it, with room for `room` more tokens. `method` must be the one that goes on with it.
  Branch fork(const Method& method, int64_t room) const;

 private:
  KvShape shape(int64_t tokens) const;
  void replay(const Method&, int64_t tokens, Branch&) const;

  const Context& context_;
  const Model& model_;
  DType kv_type_;
  int chunk_;
  std::vector<int32_t> tokens_;
  Branch branch_;
};

}  // namespace lowkey
