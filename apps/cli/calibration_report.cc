#include "apps/cli/calibration_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "base/printable.h"

namespace lowkey::cli {
namespace {

constexpr size_t kRank90 = 2;  // in kRankShares
constexpr std::array kShown{BasisKind::kPost, BasisKind::kPre, BasisKind::kBalanced};

int rank_of(const Calibration& c, BasisKind kind, int layer, int kv_head, size_t share) {
  return c.basis(kind).ranks[c.head(layer, kv_head) * kRankShares.size() + share];
}

double mean_rank(const Calibration& c, BasisKind kind) {
  double sum = 0;
  for (int layer = 0; layer < c.layers; ++layer)
    for (int h = 0; h < c.kv_heads; ++h) sum += rank_of(c, kind, layer, h, kRank90);
  return sum / (c.layers * c.kv_heads);
}

std::string ranks_of_layer(const Calibration& c, BasisKind kind, int layer) {
  constexpr int kMostHeads = 4;  // then the range
  std::vector<int> ranks;
  for (int h = 0; h < c.kv_heads; ++h) ranks.push_back(rank_of(c, kind, layer, h, kRank90));
  if (c.kv_heads <= kMostHeads) return fmt::format("{}", fmt::join(ranks, "/"));
  const auto [least, most] = std::minmax_element(ranks.begin(), ranks.end());
  return fmt::format("{}-{}", *least, *most);
}

}  // namespace

nlohmann::json calibration_facts(const Calibration& c) {
  nlohmann::json texts = nlohmann::json::array(), codebooks = nlohmann::json::array(), ranks;
  for (const CalibrationText& t : c.texts) texts.push_back({{"name", t.name}, {"bytes", t.bytes}, {"hash", t.hash}});
  for (const Codebooks& b : c.codebooks) codebooks.push_back({{"basis", name(b.basis)}, {"bits", b.bits}});
  for (BasisKind kind : kBasisKinds)
    for (size_t share = 0; share < kRankShares.size(); ++share) {
      nlohmann::json layers = nlohmann::json::array();
      for (int layer = 0; layer < c.layers; ++layer) {
        nlohmann::json heads = nlohmann::json::array();
        for (int h = 0; h < c.kv_heads; ++h) heads.push_back(rank_of(c, kind, layer, h, share));
        layers.push_back(std::move(heads));
      }
      ranks[std::string(name(kind))][fmt::format("{:.0f}%", 100 * kRankShares[share])] = std::move(layers);
    }
  return {{"model", c.model},
          {"tool", c.tool},
          {"layers", c.layers},
          {"kv_heads", c.kv_heads},
          {"head_dim", c.head_dim},
          {"tokens", c.tokens},
          {"context", c.context},
          {"texts", std::move(texts)},
          {"ranks", std::move(ranks)},
          {"codebooks", std::move(codebooks)},
          {"statistics", c.statistics.has_value()},
          {"profile", c.profile ? nlohmann::json(c.profile->layers) : nlohmann::json()}};
}

void print_ranks(const Calibration& c) {
  fmt::print("coordinates of {} that hold 90 % of the variance of keys (balanced: of scores), by KV head\n",
             c.head_dim);
  fmt::print("{:<8}{:<16}{:<16}{:<16}\n", "layer", "post-RoPE", "pre-RoPE", "balanced");
  for (int layer = 0; layer < c.layers; ++layer) {
    fmt::print("{:<8}", layer);
    for (BasisKind kind : kShown) fmt::print("{:<16}", ranks_of_layer(c, kind, layer));
    fmt::print("\n");
  }
  fmt::print("{:<8}", "mean");
  for (BasisKind kind : kShown) fmt::print("{:<16.1f}", mean_rank(c, kind));
  fmt::print("\n");
}

}  // namespace lowkey::cli
