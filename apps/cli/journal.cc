#include "apps/cli/journal.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "apps/cli/options.h"
#include "base/error.h"
#include "base/json.h"
#include "base/printable.h"

namespace lowkey::cli {
namespace {

std::string line_of(const nlohmann::json& json) { return json.dump() + "\n"; }

std::string shown(const nlohmann::json& header, const std::string& key) {
  return header.contains(key) ? printable(header[key].dump(), 120) : "nothing";
}

// Throws when the file's header is not this one.
void require_same(const nlohmann::json& found, const nlohmann::json& wanted, const std::string& path) {
  for (const auto* side : {&wanted, &found})
    for (const auto& [key, value] : side->items())
      LK_REQUIRE(found.contains(key) && wanted.contains(key) && found[key] == wanted[key], kInvalidArgument,
                 "[resume] {} was measured with {}: {}, this run has {}; name another file, or remove it", path, key,
                 shown(found, key), shown(wanted, key));
}

}  // namespace

Journal::Journal(std::string path, const nlohmann::json& header) : path_(std::move(path)) {
  file_ = open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  LK_REQUIRE(file_ >= 0, kNotFound, "[resume] {}: cannot be opened: {}", path_, std::strerror(errno));
  try {
    LK_REQUIRE(flock(file_, LOCK_EX | LOCK_NB) == 0, kInvalidArgument, "[resume] {}: another process writes it", path_);
    read(read_whole(path_), header);
  } catch (...) {
    close(file_);
    throw;
  }
}

Journal::~Journal() {
  if (file_ >= 0) close(file_);
}

// Lines that are whole; what comes after the last of them was being written when the job ended, and is cut off.
void Journal::read(std::string_view text, const nlohmann::json& header) {
  const std::string_view whole = text.substr(0, text.rfind('\n') + 1);  // npos + 1: none
  if (whole.empty()) {
    LK_REQUIRE(line_of(header).starts_with(text), kInvalidArgument, "[resume] {}: holds something else", path_);
    LK_REQUIRE(ftruncate(file_, 0) == 0, kNotFound, "[resume] {}: cannot be written", path_);
    return write(header);
  }
  std::string_view rest = whole;
  for (int64_t number = 1; !rest.empty(); ++number) {
    const std::string_view text_of_line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(text_of_line.size() + 1);
    const std::string place = fmt::format("[resume] {}: line {}", path_, number);
    const nlohmann::json line = parse_json(text_of_line, place);
    if (number == 1) {
      LK_REQUIRE(line.is_object(), kInvalidArgument, "[resume] {}: holds something else", path_);
      require_same(line, header, path_);
      continue;
    }
    try {
      known_[{line.at("task"), line.at("attention"), line.at("unit")}] = line.at("result");
    } catch (const nlohmann::json::exception&) {
      throw Error(ErrorKind::kCorruptFile, place + ": no result of a task");
    }
  }
  LK_REQUIRE(ftruncate(file_, static_cast<off_t>(whole.size())) == 0, kNotFound, "[resume] {}: cannot be written",
             path_);
}

const nlohmann::json* Journal::find(const std::string& task, const std::string& attention, size_t unit) const {
  const auto found = known_.find({task, attention, unit});
  return found == known_.end() ? nullptr : &found->second;
}

void Journal::add(const std::string& task, const std::string& attention, size_t unit, nlohmann::json result) {
  if (file_ < 0) return;
  write({{"task", task}, {"attention", attention}, {"unit", unit}, {"result", result}});
  known_[{task, attention, unit}] = std::move(result);
}

void Journal::write(const nlohmann::json& json) {
  const std::string line = line_of(json);
  for (size_t done = 0; done < line.size();) {
    const ssize_t written = ::write(file_, line.data() + done, line.size() - done);
    if (written < 0 && errno == EINTR) continue;
    LK_REQUIRE(written > 0, kNotFound, "[resume] {}: cannot be written: {}", path_, std::strerror(errno));
    done += static_cast<size_t>(written);
  }
}

}  // namespace lowkey::cli
