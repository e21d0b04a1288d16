// fnv1a: a 64-bit hash (Fowler, Noll, Vo) that tells files and models apart. Not for keys that somebody chooses.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace lowkey {

inline constexpr uint64_t kFnv1aStart = 0xcbf29ce484222325;

// `hash`: what came before, so that several pieces hash as one.
inline uint64_t fnv1a(std::span<const std::byte> bytes, uint64_t hash = kFnv1aStart) noexcept {
  for (std::byte b : bytes) hash = (hash ^ static_cast<uint64_t>(b)) * 0x100000001b3;
  return hash;
}

}  // namespace lowkey
