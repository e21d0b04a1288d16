#include "text/unigram.h"

#include <algorithm>

#include "text/utf8.h"

namespace lowkey {
namespace {

constexpr double kUnknownPenalty = 10;  // below the worst piece: SentencePiece's

}  // namespace

Unigram::Unigram(Pieces pieces, const std::vector<double>& scores, bool narrow) : scores_(scores), narrow_(narrow) {
  std::sort(pieces.begin(), pieces.end());
  double worst = 0;
  for (size_t i = 0; i < pieces.size(); ++i) {
    const double score = scores[static_cast<size_t>(pieces[i].second)];
    worst = i == 0 ? score : std::min(worst, score);
  }
  unknown_score_ = narrow ? static_cast<float>(worst - kUnknownPenalty) : worst - kUnknownPenalty;
  build_trie(pieces);
}

// Level by level, so that the children of a node lie together.
void Unigram::build_trie(const Pieces& pieces) {
  struct Range {
    size_t begin, end, depth;  // of pieces, which have so many bytes in common
  };
  std::vector<Range> ranges = {{0, pieces.size(), 0}};
  for (size_t n = 0; n < nodes_.size(); ++n) {
    auto [begin, end, depth] = ranges[n];
    if (begin < end && pieces[begin].first.size() == depth) nodes_[n].id = pieces[begin++].second;
    nodes_[n].children = static_cast<uint32_t>(nodes_.size());
    while (begin < end) {
      const size_t first = begin;
      const char byte = pieces[first].first[depth];
      while (begin < end && pieces[begin].first[depth] == byte) ++begin;
      nodes_.push_back({.byte = static_cast<uint8_t>(byte)});
      ranges.push_back({first, begin, depth + 1});
    }
    nodes_[n].count = static_cast<uint16_t>(nodes_.size() - nodes_[n].children);
  }
}

uint32_t Unigram::child(uint32_t node, char byte) const noexcept {
  const auto first = nodes_.begin() + nodes_[node].children, last = first + nodes_[node].count;
  const auto value = static_cast<uint8_t>(byte);
  const auto found = std::lower_bound(first, last, value, [](const Node& n, uint8_t b) { return n.byte < b; });
  return found != last && found->byte == value ? static_cast<uint32_t>(found - nodes_.begin()) : 0;
}

void Unigram::cut(std::string_view text, Scratch* scratch) const {
  auto& best = scratch->best;
  best.assign(text.size() + 1, {.score = 0, .id = -1, .begin = 0, .reached = false});
  const auto offer = [&](size_t begin, size_t end, int32_t id, double score) {
    double sum = best[begin].score + score;
    if (narrow_) sum = static_cast<float>(sum);  // of two f32: what adding them in f32 gives
    if (!best[end].reached || sum > best[end].score) best[end] = {sum, id, static_cast<uint32_t>(begin), true};
  };
  for (size_t at = 0; at < text.size();) {
    const size_t symbol = at + utf8_at(text, at).size;
    bool alone = false;  // the symbol is a piece
    uint32_t node = 0;
    for (size_t end = at; end < text.size() && (node = child(node, text[end])) != 0;) {
      const int32_t id = nodes_[node].id;
      ++end;
      if (id < 0) continue;
      offer(at, end, id, scores_[static_cast<size_t>(id)]);
      alone = alone || end == symbol;
    }
    if (!alone) offer(at, symbol, -1, unknown_score_);
    at = symbol;
  }
  scratch->cuts.clear();
  for (auto end = static_cast<uint32_t>(text.size()); end > 0; end = best[end].begin)
    scratch->cuts.push_back({best[end].id, best[end].begin, end});
  std::reverse(scratch->cuts.begin(), scratch->cuts.end());
}

}  // namespace lowkey
