// Memory. HugeBuffer owns one large zeroed region, on huge pages where the system grants them; pages
// are committed when first touched. Scratch is a stack of temporary buffers that is reused from step
// to step, so that a decoding step allocates nothing once it is warm.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/view.h"

namespace lowkey {

inline constexpr size_t kCacheLine = 64;

class HugeBuffer {
 public:
  HugeBuffer() = default;
  // Throws kOutOfMemory. The start is aligned to 2 MiB when bytes >= 2 MiB, else to 4 KiB.
  explicit HugeBuffer(size_t bytes);
  ~HugeBuffer();
  HugeBuffer(HugeBuffer&&) noexcept;
  HugeBuffer& operator=(HugeBuffer&&) noexcept;

  std::byte* data() const noexcept { return data_; }
  size_t size() const noexcept { return size_; }

 private:
  std::byte* data_ = nullptr;
  size_t size_ = 0;
  void* mapping_ = nullptr;
  size_t mapped_ = 0;
};

// Not thread-safe: take buffers before a parallel region, and hand each thread its part.
class Scratch {
 public:
  // Everything taken through a Frame is given back when the Frame ends. Frames nest.
  class Frame {
   public:
    explicit Frame(Scratch& scratch) : scratch_(scratch), block_(scratch.block_), used_(scratch.used_) {}
    ~Frame() { scratch_.block_ = block_, scratch_.used_ = used_; }
    Frame(const Frame&) = delete;
    Frame& operator=(const Frame&) = delete;

    // n uninitialised elements of T, aligned to a cache line. Throws kOutOfMemory.
    template <typename T>
    T* take(int64_t n) {
      return static_cast<T*>(scratch_.take(static_cast<size_t>(n) * sizeof(T)));
    }
    View take_f32(std::initializer_list<int64_t> dims) {
      int64_t n = 1;
      for (int64_t d : dims) n *= d;
      return {take<float>(n), DType::kF32, dims};
    }

   private:
    Scratch& scratch_;
    size_t block_, used_;
  };

  size_t capacity() const noexcept;  // bytes held

 private:
  friend class Frame;
  void* take(size_t bytes);

  std::vector<HugeBuffer> blocks_;
  size_t block_ = 0;  // index of the block in use
  size_t used_ = 0;   // bytes used of it
};

}  // namespace lowkey
