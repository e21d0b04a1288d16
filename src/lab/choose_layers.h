// choose_layers: one of several settings for each layer, so that the whole costs least within what may be lost: the
// multiple-choice knapsack. Losses of layers are taken to add up, which small ones nearly do.
#pragma once

#include <span>
#include <vector>

namespace lowkey {

// What a setting takes and loses in one layer; both >= 0.
struct LayerChoice {
  double cost = 0, loss = 0;
};

// choices: [L * N], N for each layer. Returns [L], the choice of each. Losses count in steps of budget / 4096, rounded
// up, so the true sum never exceeds the budget, and is optimal for the rounded ones. When even the least losses exceed
// the budget: the least lossy choice of each layer. Throws kInvalidArgument.
std::vector<int> choose_layers(std::span<const LayerChoice> choices, int layers, double budget);

}  // namespace lowkey
