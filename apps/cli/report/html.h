// html: text from files, made safe to stand in a page; and tables.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lowkey::cli {

// For text between tags and for attributes in double quotes.
std::string escape_html(std::string_view text);
// The same of a method's name, which may break after a comma or a colon where lines are short.
std::string breakable_name(std::string_view text);

// JSON for the inside of a <script> element: no "<" is left, so neither </script> nor <!-- can end or change it.
std::string script_safe(std::string_view json);

// "0.0731": with so many digits after the point; an en dash for NaN and infinity.
std::string shown(double value, int digits);
std::string shown_sign(double value, int digits);           // "+0.57"
std::string range_of(double low, double high, int digits);  // "0.12 ... 0.34", with one sign for the dots
// Three digits that count: "0.00307", "48.2", "1,240".
std::string shown_short(double value);
std::string shown_tokens(double tokens);  // "16k" for 16384, "1000" for 1000

struct Cell {
  std::string text;  // not escaped yet
  std::string hint;  // what a pointer that rests on it is told
  double heat = -1;  // 0 to 1: the cell's place on the colour scale
  bool framed = false;
};

// The first column names the row.
struct Table {
  std::string caption;
  std::vector<Cell> head;  // a hint explains the column
  std::vector<std::vector<Cell>> rows;
  bool heat_map = false;
  bool words = false;  // no numbers: texts begin where their columns do

  std::string html() const;
};

// What the ends of the colour scale mean.
std::string scale_legend(const std::string& low, const std::string& high);

// A heat map's range: from `low`, the colour of 0, to `high`.
struct HeatScale {
  double low = 0, high = 1;

  // Steps of a tenth around all values; NaN does not count.
  static HeatScale around(const std::vector<double>& values);
  Cell cell(double value, const std::string& hint) const;  // "0.73"
  std::string legend() const { return scale_legend(shown(low, 1), shown(high, 1)); }
};

}  // namespace lowkey::cli
