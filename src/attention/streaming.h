// streaming: the first and the last tokens only (StreamingLLM, arXiv 2309.17453, with the positions that the tokens
// had; with a window, the first in it). Cheap, and blind to all between.
#pragma once

#include <memory>

#include "attention/method.h"
#include "attention/settings.h"

namespace lowkey {

struct AttentionSpec;

class Streaming final : public Method {
 public:
  Streaming(int64_t sink, Amount recent, bool every_row) : sink_(sink), recent_(recent), every_row_(every_row) {}
  static std::unique_ptr<Method> make(const AttentionSpec&);

  Selection select(const LayerStep&, View q) const override;

 private:
  int64_t sink_;
  Amount recent_;
  bool every_row_;  // of prompts too
};

}  // namespace lowkey
