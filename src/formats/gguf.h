// GGUF v2 and v3: metadata and tensors in one file (the format of llama.cpp). Every count, length, offset,
// alignment, dimension product and type is checked against the file before it is used.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
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
  static Gguf open(const std::filesystem::path&, FilePlace = FilePlace::kMapped);
  // The same for bytes in memory, which must outlive the Gguf; `name` stands for the file in errors.
  static Gguf parse(std::span<const std::byte> bytes, const std::string& name);

  const std::string& path() const noexcept { return path_; }
  int version() const noexcept { return version_; }
  const std::map<std::string, GgufValue, std::less<>>& metadata() const noexcept { return metadata_; }
  const std::vector<GgufTensor>& tensors() const noexcept { return tensors_; }

  // Null when absent.
  const View* find(std::string_view tensor) const;
  const GgufValue* value(std::string_view key) const;
  // Typed look-ups; a key of another type throws kCorruptFile naming it. texts is null, integers and numbers are
  // empty when the key is absent.
  int64_t integer(std::string_view key, int64_t otherwise) const;
  double number(std::string_view key, double otherwise) const;
  bool boolean(std::string_view key, bool otherwise) const;
  std::string text(std::string_view key, std::string_view otherwise) const;
  const std::vector<std::string>* texts(std::string_view key) const;
  std::vector<int64_t> integers(std::string_view key) const;
  std::vector<double> numbers(std::string_view key) const;

  void check_unchanged() const { file_.check_unchanged(); }

 private:
  friend class GgufParser;
  Gguf() = default;
  [[noreturn]] void refuse(std::string_view key, std::string_view rule) const;

  MappedFile file_;
  std::string path_;
  int version_ = 0;
  std::map<std::string, GgufValue, std::less<>> metadata_;
  std::vector<GgufTensor> tensors_;
  std::map<std::string, size_t, std::less<>> by_name_;
};

}  // namespace lowkey
