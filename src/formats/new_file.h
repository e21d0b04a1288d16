// NewFile: a file that appears under its name only once it is complete. Until then it is NAME.partial, which goes when
// the object does: neither an error nor an interrupted job leaves half a file behind, nor touches an older one.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>

namespace lowkey {

class NewFile {
 public:
  // `format` starts messages: "[gguf] path: ...". Throws kNotFound when the folder is missing or not writable.
  NewFile(const std::filesystem::path&, const std::string& format);
  ~NewFile();
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  // Throws kOutOfMemory when the disk is full.
  void write(const void* data, size_t bytes);
  // To disk, then under its name, so that no crash leaves half a file there. Throws kOutOfMemory, kNotFound.
  void finish();

  const std::string& place() const noexcept { return place_; }  // "[gguf] path"

 private:
  std::filesystem::path path_, partial_;
  std::string place_;
  int descriptor_ = -1;
};

}  // namespace lowkey
