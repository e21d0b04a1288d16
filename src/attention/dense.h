// dense: exact attention over every cached token; what all other methods are measured against.
#pragma once

#include "attention/method.h"

namespace lowkey {

class Dense final : public Method {
 public:
  Selection select(const LayerStep&, View q) const override;
  bool bidirectional() const noexcept override { return true; }
};

}  // namespace lowkey
