// page: the sections of a report, in order: words, charts and tables. Every chart's numbers are in a table of its
// section too, so that the page says the same without JavaScript.
#pragma once

#include <limits>
#include <map>
#include <string>
#include <vector>

#include "apps/cli/report/html.h"

namespace lowkey::cli {

struct ChartPoint {
  double x = 0, y = 0;
  double low = kMissingBound, high = kMissingBound;  // of y; NaN: not known
  std::string note;                                  // shown with the point

  static constexpr double kMissingBound = std::numeric_limits<double>::quiet_NaN();
};

struct ChartSeries {
  std::string label;
  int colour = 0;  // 0 is neutral; others are told apart by people who see few colours, too
  int run = 0;     // the first run's lines are solid, its points filled
  std::vector<ChartPoint> points;
};

struct ChartAxis {
  std::string title;  // with its unit
  bool logarithmic = false;
  double most = std::numeric_limits<double>::quiet_NaN();  // where it ends; NaN: where its points do
  std::vector<std::pair<double, std::string>> ticks;       // none: chosen by the chart
};

struct Chart {
  enum class Kind {
    kLines,  // points, joined in the order of x
    kBars,   // lying; a point's note names its bar, x does not count
    kStack,  // the same, a bar's series one after the other
  };
  std::string title;
  Kind kind = Kind::kLines;
  ChartAxis x, y;
  std::vector<ChartSeries> series;
  std::vector<ChartPoint> front;  // the best of all, as one faint line

  // For the script. Points that an axis cannot show are left out, and series without points; "" when none is left.
  std::string json() const;
};

struct Tile {
  std::string value, words, source;
};

class Page {
 public:
  void tile(Tile tile) { tiles_.push_back(std::move(tile)); }

  // Starts a section, in the contents by `name`. `lead` explains in plain words what it shows.
  void section(const std::string& name, const std::string& title, const std::string& lead);
  void note(const std::string& words);
  void charts(const std::vector<Chart>&);         // side by side where there is room
  void table(const Table&, bool folded = false);  // folded: behind its caption, once there are charts
  void maps(const std::vector<Table>&, const std::string& scale);

  // The same for the same line of methods on the whole page; 0 for dense attention.
  int colour(const std::string& family);

  std::string tiles() const;
  std::string contents() const;
  std::string body() const { return body_ + (open_ ? "</section>\n" : ""); }
  const std::vector<std::string>& chart_data() const { return chart_data_; }  // JSON of each

 private:
  std::vector<Tile> tiles_;
  std::vector<std::string> sections_;  // names
  std::map<std::string, int> colours_;
  std::vector<std::string> chart_data_;
  std::string body_;
  bool open_ = false;
};

}  // namespace lowkey::cli
