// kv_append: stores the keys and values of new tokens in the cache, converted to its type.
#pragma once

#include "base/context.h"
#include "base/view.h"
#include "ops/kv_pages.h"

namespace lowkey {

struct KvAppendArgs {
  View k;      // [T, KH, D] f32, rotated
  View v;      // [T, KH, D] f32
  KvPages kv;  // length already counts the T new tokens, which become its last ones
};

void kv_append(const Context&, const KvAppendArgs&);

namespace ref {
void kv_append(const KvAppendArgs&) noexcept;
}

}  // namespace lowkey
