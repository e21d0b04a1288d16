// MappedFile: a whole file, read-only, in memory. If another process shortens the file while it is mapped,
// touching the lost part raises SIGBUS; apps install a handler (apps/cli/signals.h) that says so.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

namespace lowkey {

class MappedFile {
 public:
  MappedFile() = default;  // no file, no bytes
  // Throws kNotFound (missing, unreadable), kCorruptFile (a folder, a device, empty).
  explicit MappedFile(const std::filesystem::path&);
  ~MappedFile();
  MappedFile(MappedFile&&) noexcept;
  MappedFile& operator=(MappedFile&&) noexcept;

  std::span<const std::byte> bytes() const noexcept { return {data_, size_}; }
  const std::string& path() const noexcept { return path_; }
  // Throws kCorruptFile when the file has become shorter since it was mapped.
  void check_unchanged() const;

 private:
  std::string path_;
  int descriptor_ = -1;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace lowkey
