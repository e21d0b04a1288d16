#include "apps/cli/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <utility>

namespace lowkey::cli {

using Clock = std::chrono::steady_clock;

Progress::Progress(std::string title, std::string unit)
    : title_(std::move(title)), unit_(std::move(unit)), terminal_(isatty(STDERR_FILENO) != 0), start_(Clock::now()) {}

Progress::~Progress() { clear(); }

void Progress::update(int64_t done, int64_t total) {
  constexpr auto kRedraw = std::chrono::milliseconds(100);
  constexpr int kWidth = 30;
  const auto now = Clock::now();
  if (first_ < 0) first_ = done;
  if (!terminal_ || (drawn_ && done < total && now - last_ < kRedraw)) return;
  drawn_ = true, last_ = now;
  const double share = total > 0 ? static_cast<double>(done) / static_cast<double>(total) : 1;
  const double seconds = std::chrono::duration<double>(now - start_).count();
  const double rate = seconds > 0 ? static_cast<double>(done - first_) / seconds : 0;
  const int filled = static_cast<int>(share * kWidth);
  const double left = rate > 0 ? static_cast<double>(total - done) / rate : 0;
  fmt::print(stderr, "\r\033[K{} [{:=<{}}{: <{}}] {}/{} {} {:.0f}/s, {:.0f} s left", title_, "", filled, "",
             kWidth - filled, done, total, unit_, rate, left);
  std::fflush(stderr);
}

void Progress::clear() {
  if (!drawn_) return;
  fmt::print(stderr, "\r\033[K");
  std::fflush(stderr);
  drawn_ = false;
}

}  // namespace lowkey::cli
