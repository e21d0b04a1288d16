// A template's text into statements: the part of Jinja that chat templates use. What else there is (include, extends,
// call, ...) is refused by name.
#pragma once

#include <string>
#include <string_view>

#include "text/jinja/syntax.h"

namespace lowkey::jinja {

// `source` names the template in errors. Throws kCorruptFile, and kUnsupported for what Jinja has and this has not.
Block parse(std::string_view text, const std::string& source);

}  // namespace lowkey::jinja
