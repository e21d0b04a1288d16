// GgufWriter: writes a GGUF v3 file. Metadata and tensor shapes first, then each tensor's bytes in the order
// announced, streamed. The file appears under its name only once it is complete.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/dtype.h"

namespace lowkey {

class GgufWriter {
 public:
  // Throws kNotFound when the folder is missing or not writable.
  explicit GgufWriter(const std::filesystem::path&);
  ~GgufWriter();  // unfinished: the partial file is removed

  void set(const std::string& key, uint32_t value);
  void set(const std::string& key, float value);
  void set(const std::string& key, bool value);
  void set(const std::string& key, const std::string& value);
  void set(const std::string& key, const char* value) { set(key, std::string(value)); }
  void set(const std::string& key, const std::vector<std::string>& values);
  void set(const std::string& key, const std::vector<int8_t>& values);
  void set(const std::string& key, const std::vector<int32_t>& values);
  void set(const std::string& key, const std::vector<float>& values);

  // Announces a tensor; shape in C order ([N, K] for a linear layer).
  void announce(const std::string& tensor, DType, std::span<const int64_t> shape);
  // The bytes of the next announced tensor, whole. The first write ends the announcing.
  void write(const std::string& tensor, std::span<const std::byte> bytes);
  // Flushes and moves the file into place. Throws kInvalidArgument when an announced tensor is missing,
  // kOutOfMemory when the disk is full.
  void finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lowkey
