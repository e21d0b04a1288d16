// GGUF v2 and v3: metadata and tensors in one file (the format of llama.cpp). Every count, length, offset,
// alignment, dimension product and type is checked against the file before it is used.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "base/view.h"
#include "formats/mapped_file.h"

namespace lowkey {

struct GgufArray;
// Integers of every width are widened to int64 / uint64, floats to double.
using GgufValue = std::variant<bool, int64_t, uint64_t, double, std::string, GgufArray>;

// One level of nesting is enough for every known key; deeper ones are refused.
struct GgufArray {
  std::variant<std::vector<bool>, std::vector<int64_t>, std::vector<uint64_t>, std::vector<double>,
               std::vector<std::string>>
      values;
};

struct GgufTensor {
  std::string name;
  View view;  // dims in C order: GGUF's ne reversed, so [N, K] for a linear layer; points into the mapped file
};

class Gguf {
 public:
  // Throws kNotFound, kCorruptFile, kUnsupported (a tensor type or version unknown here).
  static Gguf open(const std::filesystem::path&);

  const std::string& path() const noexcept { return file_.path(); }
  int version() const noexcept { return version_; }
  const std::map<std::string, GgufValue, std::less<>>& metadata() const noexcept { return metadata_; }
  const std::vector<GgufTensor>& tensors() const noexcept { return tensors_; }

  // Null when absent.
  const View* find(std::string_view tensor) const;
  const GgufValue* value(std::string_view key) const;
  // Typed look-ups; a key of another type throws kCorruptFile naming it.
  int64_t integer(std::string_view key, int64_t otherwise) const;
  double number(std::string_view key, double otherwise) const;
  bool boolean(std::string_view key, bool otherwise) const;
  std::string text(std::string_view key, std::string_view otherwise) const;
  const std::vector<std::string>* texts(std::string_view key) const;
  std::vector<int64_t> integers(std::string_view key) const;

  void check_unchanged() const { file_.check_unchanged(); }

 private:
  explicit Gguf(MappedFile file) : file_(std::move(file)) {}

  MappedFile file_;
  int version_ = 0;
  std::map<std::string, GgufValue, std::less<>> metadata_;
  std::vector<GgufTensor> tensors_;
  std::map<std::string, size_t, std::less<>> by_name_;
};

}  // namespace lowkey
