// Progress: one line on stderr that redraws itself on a terminal: a bar, a rate, the time left. Elsewhere it stays
// silent.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>

namespace lowkey::cli {

class Progress {
 public:
  // `unit` names what is counted: "tokens", "MB".
  Progress(std::string title, std::string unit);
  ~Progress();  // clears the line

  // The rate counts from the first call on: what was done before it took no time of this run.
  void update(int64_t done, int64_t total);
  void retitle(std::string title) { title_ = std::move(title); }
  void clear();

 private:
  std::string title_, unit_;
  bool terminal_;
  bool drawn_ = false;
  int64_t first_ = -1;  // done at the first update
  std::chrono::steady_clock::time_point start_, last_;
};

}  // namespace lowkey::cli
