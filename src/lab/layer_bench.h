// LayerBench: the attention of a few layers of noise under one method, to time decoding steps of any length with.
#pragma once

#include <string>
#include <vector>

#include "attention/method.h"
#include "kv/cache.h"

namespace lowkey {

struct LayerTimes {
  double total = 0, score = 0, select = 0, attend = 0;  // seconds of one layer and token
  int64_t score_bytes = 0, attend_bytes = 0;            // read by ranking, by exact attention
};

class LayerBench {
 public:
  // `layers` copies of a layer of this shape hold `length` tokens each. The references must outlive it. Throws
  // kInvalidArgument, kOutOfMemory.
  LayerBench(const Context&, const Method&, const AttentionShape&, KvShape, int64_t length);

  // select() and attend() of the last of the first `length` tokens, through all layers; nothing is appended.
  LayerTimes decode(int64_t length);
  // Writes the last token of every layer again, K, V and side data; seconds per layer.
  double append_seconds();
  int64_t bytes_per_token() const noexcept;  // of K, V and side data, in one layer

 private:
  void append(const std::vector<float>& x, int layer, int64_t count);

  const Context& context_;
  const Method& method_;
  AttentionShape shape_;  // one layer, as far as the method knows: a calibration may be for one
  Projections none_;
  KvCache cache_;
  KvCache::SequenceId sequence_;
  std::vector<float> q_, out_;
};

}  // namespace lowkey
