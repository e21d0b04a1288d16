#include "base/view.h"

namespace lowkey {

std::string View::describe() const {
  std::string text{name(dtype)};
  text += '[';
  for (int i = 0; i < rank; ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + ']';
}

}  // namespace lowkey
