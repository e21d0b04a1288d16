// Journal: a file of JSON lines in which a long job writes down each piece of work as soon as it is done, and finds it
// again when it is started once more. The first line says what the results depend on; the file of a job that differs
// in any of it is refused. A last line that was cut short is dropped.
//
//   {"lowkey eval": 1, "model": "...", ...}
//   {"task": "agreement", "attention": "loki", "unit": 3, "result": {...}}
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <tuple>

namespace lowkey::cli {

class Journal {
 public:
  Journal() = default;  // knows nothing, keeps nothing
  // Opens or makes the file. Throws kInvalidArgument (of another job, with the first thing that differs; no journal at
  // all; in use by another process), kCorruptFile (a line before the last cannot be read), kNotFound (cannot be
  // opened).
  Journal(std::string path, const nlohmann::json& header);
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  // Null when it is not known.
  const nlohmann::json* find(const std::string& task, const std::string& attention, size_t unit) const;
  // Is in the file, whatever happens to this process, when the call returns. Throws kNotFound (a full disk).
  void add(const std::string& task, const std::string& attention, size_t unit, nlohmann::json result);
  size_t size() const noexcept { return known_.size(); }

 private:
  void read(std::string_view text, const nlohmann::json& header);
  void write(const nlohmann::json& line);

  std::string path_;
  int file_ = -1;
  std::map<std::tuple<std::string, std::string, size_t>, nlohmann::json> known_;
};

}  // namespace lowkey::cli
