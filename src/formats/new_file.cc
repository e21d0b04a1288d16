#include "formats/new_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "base/error.h"
#include "base/printable.h"

namespace lowkey {
namespace {

std::string last_error() { return std::generic_category().message(errno); }

}  // namespace

NewFile::NewFile(const std::filesystem::path& path, const std::string& format)
    : path_(path), partial_(path), place_("[" + format + "] " + printable(path.string(), 300)) {
  partial_ += ".partial";
  descriptor_ = open(partial_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
  LK_REQUIRE(descriptor_ >= 0, kNotFound, "{}: cannot be created: {}", place_, last_error());
}

NewFile::~NewFile() {
  if (descriptor_ < 0) return;
  close(descriptor_);
  unlink(partial_.c_str());
}

void NewFile::write(const void* data, size_t bytes) {
  const auto* next = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t n = ::write(descriptor_, next, bytes);
    if (n < 0 && errno == EINTR) continue;
    LK_REQUIRE(n > 0, kOutOfMemory, "{}: cannot be written: {}", place_, last_error());
    next += n;
    bytes -= static_cast<size_t>(n);
  }
}

void NewFile::finish() {
  LK_REQUIRE(fsync(descriptor_) == 0, kOutOfMemory, "{}: cannot be written: {}", place_, last_error());
  LK_REQUIRE(rename(partial_.c_str(), path_.c_str()) == 0, kNotFound, "{}: cannot be put in place: {}", place_,
             last_error());
  close(descriptor_);
  descriptor_ = -1;
}

}  // namespace lowkey
