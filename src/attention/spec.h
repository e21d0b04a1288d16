// AttentionSpec: the words that choose a method and its settings, the same in every front end:
// "dense", "loki:k=1/16,index=bits:128". Grammar: NAME [":" KEY "=" VALUE ("," KEY "=" VALUE)*].
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "attention/method.h"

namespace lowkey {

struct AttentionSpec {
  std::string name;
  std::map<std::string, std::string, std::less<>> settings;

  std::string text() const;  // canonical: settings in order of their keys
};

// Throws kInvalidArgument naming the allowed methods or keys.
AttentionSpec parse_attention_spec(std::string_view text);
std::unique_ptr<Method> make_method(const AttentionSpec&);

}  // namespace lowkey
