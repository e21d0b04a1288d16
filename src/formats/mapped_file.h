// MappedFile: a whole file, read-only, in memory: mapped, or read. If another process shortens the file while it is
// mapped, touching the lost part raises SIGBUS; apps install a handler (apps/cli/signals.h) that says so.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

#include "base/arena.h"

namespace lowkey {

enum class FilePlace {
  kMapped,  // there at once, shared with other processes
  kMemory,  // read to the end first, into huge pages where the system grants them: going through it is faster then
};

class MappedFile {
 public:
  MappedFile() = default;  // no file, no bytes
  // Throws kNotFound (missing, unreadable), kCorruptFile (a folder, a device, empty), kOutOfMemory.
  explicit MappedFile(const std::filesystem::path&, FilePlace = FilePlace::kMapped);
  ~MappedFile();
  MappedFile(MappedFile&&) noexcept;
  MappedFile& operator=(MappedFile&&) noexcept;

  std::span<const std::byte> bytes() const noexcept { return {data_, size_}; }
  const std::string& path() const noexcept { return path_; }
  // Throws kCorruptFile when the file has become shorter since it was mapped. What has been read cannot change.
  void check_unchanged() const;

 private:
  std::string path_;
  int descriptor_ = -1;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
  HugeBuffer memory_;  // of a file that has been read, whose descriptor is closed
};

}  // namespace lowkey
