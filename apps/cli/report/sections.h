// sections: each part of a report from the typed results of its runs. One that has nothing to show adds nothing.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "apps/cli/report/page.h"
#include "apps/cli/report/run_facts.h"
#include "apps/cli/report/spec_labels.h"

namespace lowkey::cli {

struct Report {
  std::span<const RunFacts> runs;
  SpecLabels labels;        // of the specs that eval measured
  SpecLabels speed_labels;  // of those that were timed
};

void add_tiles(const Report&, Page&);
void add_quality(const Report&, Page&);     // against bytes read, by k, by the size of the index
void add_perplexity(const Report&, Page&);  // of whole windows
void add_layers(const Report&, Page&);      // recall and mass by layer and head
void add_needles(const Report&, Page&);
void add_spectra(const Report&, Page&);
void add_tunes(const Report&, Page&);  // a setting for each layer
void add_speed(const Report&, Page&);
void add_others(const Report&, Page&);
void add_settings(const Report&, Page&);

// One result of one run, with how it is called on the page.
template <class Facts>
struct Entry {
  const Facts& facts;
  size_t run;
  int style;                              // of its lines: the number of the run among those that have such results
  std::string label, family;              // with the run's name where several runs have such results
  std::string plain_label, plain_family;  // without: what colours follow
};

template <class Facts>
std::vector<Entry<Facts>> entries(const Report& report, std::vector<Facts> RunFacts::* results,
                                  const SpecLabels& labels) {
  int with = 0, style = -1;
  for (const RunFacts& run : report.runs) with += (run.*results).empty() ? 0 : 1;
  std::vector<Entry<Facts>> all;
  for (size_t r = 0; r < report.runs.size(); ++r) {
    const std::string tag = with > 1 ? " (" + report.runs[r].name + ")" : "";
    style += (report.runs[r].*results).empty() ? 0 : 1;
    for (const Facts& facts : report.runs[r].*results) {
      const std::string label = labels.label(facts.spec), family = labels.family(facts.spec);
      all.push_back({facts, r, style, label + tag, family + tag, label, family});
    }
  }
  return all;
}

// The series of that name, made where there is none yet.
ChartSeries& series_of(Chart& chart, const std::string& label, int colour, int run);

}  // namespace lowkey::cli
