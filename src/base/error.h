// Two of the house's three macros. LK_REQUIRE checks what comes from outside, always, and throws;
// LK_DCHECK checks our own reasoning, in debug and sanitizer builds only, and aborts.
// (The third, LK_CUDA, lives with the CUDA backend.)
#pragma once

#include <fmt/format.h>

#include <cassert>

#include "lowkey/error.h"

// LK_REQUIRE(k >= 1, kInvalidArgument, "[topk] k={}, must be >= 1", k);
#define LK_REQUIRE(condition, kind, ...)                                            \
  do {                                                                              \
    if (!(condition)) [[unlikely]]                                                  \
      throw ::lowkey::Error(::lowkey::ErrorKind::kind, ::fmt::format(__VA_ARGS__)); \
  } while (false)

#ifdef NDEBUG
#define LK_DCHECK(condition) ((void)0)
#else
#define LK_DCHECK(condition) assert(condition)
#endif
