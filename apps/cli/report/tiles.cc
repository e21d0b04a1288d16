// The few numbers that a reader wants first.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "apps/cli/report/sections.h"

namespace lowkey::cli {
namespace {

constexpr double kLittle = 1;          // percent of perplexity
constexpr double kNoticeable = 1.045;  // times as fast: what is shown with one digit is above 1

double cost_of(const QualityFacts& q) { return std::isfinite(q.bytes_share) ? q.bytes_share : q.share_read; }

void quality_tile(const Report& report, Page& page) {
  const auto all = entries(report, &RunFacts::quality, report.labels);
  const Entry<QualityFacts>* best = nullptr;
  for (const auto& e : all)
    if (e.facts.increase.mean <= kLittle && cost_of(e.facts) < 1 && (!best || cost_of(e.facts) < cost_of(best->facts)))
      best = &e;
  if (!best) return;
  const bool bytes = std::isfinite(best->facts.bytes_share);
  page.tile({shown_short(100 * cost_of(best->facts)) + " %",
             fmt::format("of the {} read, perplexity {} %", bytes ? "bytes" : "tokens",
                         shown_sign(best->facts.increase.mean, 2)),
             best->label});
}

void needle_tile(const Report& report, Page& page) {
  const auto all = entries(report, &RunFacts::needles, report.labels);
  const Entry<NeedleFacts>* best = nullptr;
  const auto share = [](const NeedleFacts& n) { return static_cast<double>(n.found) / n.trials; };
  for (const auto& e : all)
    if (e.facts.trials > 0 && split_spec(e.facts.spec).name != "dense" &&
        (!best || share(e.facts) > share(best->facts)))
      best = &e;
  if (best)
    page.tile({fmt::format("{} of {}", best->facts.found, best->facts.trials), "hidden codes found", best->label});
}

// At the longest context of each bench: what is won there is what such methods are for.
void speed_tile(const Report& report, Page& page) {
  const auto all = entries(report, &RunFacts::speeds, report.speed_labels);
  const Entry<SpeedFacts>* best = nullptr;
  double most = kNoticeable;
  for (const auto& dense : all) {
    if (split_spec(dense.facts.spec).name != "dense") continue;
    const auto alike = [&](const auto& e) { return e.run == dense.run && e.facts.bench == dense.facts.bench; };
    if (std::any_of(all.begin(), all.end(),
                    [&](const auto& e) { return alike(e) && e.facts.tokens > dense.facts.tokens; }))
      continue;
    for (const auto& e : all) {
      if (!alike(e) || e.facts.tokens != dense.facts.tokens) continue;
      const double times = std::isfinite(e.facts.microseconds)
                               ? dense.facts.microseconds / e.facts.microseconds
                               : e.facts.tokens_per_second / dense.facts.tokens_per_second;
      if (times > most) best = &e, most = times;
    }
  }
  if (best)
    page.tile({fmt::format("{:.1f}\u00d7", most),
               fmt::format("as fast as dense{}, behind {} tokens",
                           best->facts.bench == "attention" ? ", one layer" : "", shown_tokens(best->facts.tokens)),
               best->label});
}

void tune_tile(const Report& report, Page& page) {
  for (const RunFacts& run : report.runs)
    for (const TuneFacts& tune : run.tunes) {
      if (tune.checked.size() < 2) continue;
      const auto cost = [&](const TuneRow& row) { return tune.for_time ? row.seconds : row.bytes; };
      page.tile({shown_short(100 * cost(tune.checked[0]) / cost(tune.checked[1])) + " %",
                 fmt::format("of the {} of the best setting for all layers, with one for each; perplexity {} %",
                             tune.for_time ? "time" : "bytes", shown_sign(tune.checked[0].increase.mean, 2)),
                 "lowkey tune"});
      return;
    }
}

void rank_tile(const Report& report, Page& page) {
  for (const RunFacts& run : report.runs)
    for (const RankFacts& ranks : run.ranks) {
      if (ranks.basis != "post" || std::abs(ranks.share - 0.9) > 1e-6) continue;
      double sum = 0;
      int count = 0;
      for (const auto& layer : ranks.ranks)
        for (const double rank : layer) sum += rank, ++count;
      page.tile(
          {shown(sum / count, 1), "coordinates hold 90 % of a head's keys", "post-RoPE, mean of layers and heads"});
      return;
    }
}

void perplexity_tile(const Report& report, Page& page) {
  for (const RunFacts& run : report.runs) {
    for (const PerplexityFacts& p : run.perplexities)
      if (split_spec(p.spec).name == "dense") {
        page.tile({shown(p.perplexity, 2),
                   fmt::format("perplexity of dense attention, windows of {} tokens", shown_tokens(p.context)),
                   run.name});
        return;
      }
    for (const QualityFacts& q : run.quality)
      if (std::isfinite(q.dense_perplexity)) {
        page.tile({shown(q.dense_perplexity, 2),
                   fmt::format("perplexity of dense attention, windows of {} tokens", shown_tokens(q.context)),
                   run.name});
        return;
      }
  }
}

}  // namespace

void add_tiles(const Report& report, Page& page) {
  quality_tile(report, page);
  speed_tile(report, page);
  needle_tile(report, page);
  tune_tile(report, page);
  rank_tile(report, page);
  perplexity_tile(report, page);
}

}  // namespace lowkey::cli
