// Units: the pieces of work of a measurement, a method on a window, say. Those that an earlier run has measured need
// not be measured again; those that are new can be kept for a later one.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>

namespace lowkey {

template <typename T>
struct Units {
  std::function<std::optional<T>(size_t method, size_t unit)> known;      // none: nothing is
  std::function<void(size_t method, size_t unit, const T& result)> done;  // none: nobody keeps it

  std::optional<T> find(size_t method, size_t unit) const { return known ? known(method, unit) : std::nullopt; }
  void keep(size_t method, size_t unit, const T& result) const {
    if (done) done(method, unit, result);
  }
};

}  // namespace lowkey
