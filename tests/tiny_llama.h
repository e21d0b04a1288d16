// A tiny model of random weights with grouped queries, and tokens for it. For tests only.
#pragma once

#include <filesystem>
#include <random>
#include <vector>

#include "model/model.h"

namespace lowkey {

inline const Model& tiny_model() {
  static const auto model = open_model(std::filesystem::path(LOWKEY_SOURCE_DIR) / "tests/data/tiny-llama3");
  return *model;
}

inline std::vector<int32_t> random_tokens(size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<int32_t> ids(count);
  for (int32_t& id : ids) id = static_cast<int32_t>(random() % static_cast<unsigned>(tiny_model().shape().vocabulary));
  return ids;
}

}  // namespace lowkey
