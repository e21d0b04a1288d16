#include "formats/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/printable.h"

namespace lowkey {

namespace {

// Throws kCorruptFile when there are fewer bytes than the buffer holds.
void read_all(int descriptor, const HugeBuffer& buffer, const std::string& shown) {
  constexpr size_t kMost = size_t{1} << 30;  // of one call
  for (size_t at = 0; at < buffer.size();) {
    const ssize_t count =
        pread(descriptor, buffer.data() + at, std::min(buffer.size() - at, kMost), static_cast<off_t>(at));
    if (count < 0 && errno == EINTR) continue;
    LK_REQUIRE(count > 0, kCorruptFile, "[file] {}: cannot be read after {} of {} bytes: {}", shown, at, buffer.size(),
               count < 0 ? std::generic_category().message(errno) : "it has become shorter");
    at += static_cast<size_t>(count);
  }
}

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path, FilePlace place) : path_(path.string()) {
  const std::string shown = printable(path_, 300);
  // Non-blocking: opening a pipe that has no writer must not hang.
  descriptor_ = open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  LK_REQUIRE(descriptor_ >= 0, kNotFound, "[file] {}: cannot be opened: {}", shown,
             std::generic_category().message(errno));
  MappedFile owner;  // closes the descriptor if what follows throws
  std::swap(owner.descriptor_, descriptor_);
  struct stat status{};
  LK_REQUIRE(fstat(owner.descriptor_, &status) == 0, kNotFound, "[file] {}: cannot be examined: {}", shown,
             std::generic_category().message(errno));
  LK_REQUIRE(S_ISREG(status.st_mode), kCorruptFile, "[file] {}: is a folder or a device, must be a regular file",
             shown);
  LK_REQUIRE(status.st_size > 0, kCorruptFile, "[file] {}: size = 0, must be >= 1", shown);
  const auto size = static_cast<size_t>(status.st_size);
  if (place == FilePlace::kMemory) {
    memory_ = HugeBuffer(size);
    read_all(owner.descriptor_, memory_, shown);
    data_ = memory_.data(), size_ = size;
    return;
  }
  void* data = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, owner.descriptor_, 0);
  LK_REQUIRE(data != MAP_FAILED, kOutOfMemory, "[file] {}: {} bytes cannot be mapped: {}", shown, size,
             std::generic_category().message(errno));
  data_ = static_cast<const std::byte*>(data);
  size_ = size;
  std::swap(owner.descriptor_, descriptor_);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr && memory_.data() == nullptr) munmap(const_cast<std::byte*>(data_), size_);
  if (descriptor_ >= 0) close(descriptor_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept { *this = std::move(other); }

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(memory_, other.memory_);
  return *this;
}

void MappedFile::check_unchanged() const {
  if (descriptor_ < 0) return;
  struct stat status{};
  const bool known = fstat(descriptor_, &status) == 0;
  LK_REQUIRE(known && status.st_size >= static_cast<off_t>(size_), kCorruptFile,
             "[file] {}: size = {}, was {} when it was opened: the file has been changed in use", printable(path_, 300),
             static_cast<int64_t>(status.st_size), size_);
}

}  // namespace lowkey
