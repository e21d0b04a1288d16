// print_logits MODEL ATTENTION: reads token ids of one text on stdin, and writes the logits of every token, f32
// [T, V], to stdout; keys and values are kept as f32. The engine's half of python/tests/test_equals_engine.py.
#include <cstdio>
#include <iostream>
#include <numeric>
#include <vector>

#include "attention/spec.h"
#include "base/error.h"
#include "model/model.h"

namespace {

void print(const char* path, const char* spec) {
  using namespace lowkey;
  std::vector<int32_t> ids;
  for (int32_t id; std::cin >> id;) ids.push_back(id);
  const Context context(1);
  const auto model = open_model(path);
  const auto method = make_method(parse_attention_spec(spec), {.shape = model->shape().attention});
  const auto count = static_cast<int64_t>(ids.size()), vocabulary = int64_t{model->shape().vocabulary};
  KvCache cache(kv_shape(model->shape(), *method, DType::kF32, count));
  const StepSequence sequence{cache.open(), static_cast<int32_t>(count)};
  LK_REQUIRE(cache.grow(sequence.id, count), kInvalidArgument, "{} tokens, must fit the cache", count);
  std::vector<int32_t> rows(ids.size());
  std::iota(rows.begin(), rows.end(), 0);
  std::vector<float> logits(ids.size() * static_cast<size_t>(vocabulary));
  model->forward(context, *method, cache, {ids, {&sequence, 1}, rows, f32_view(logits.data(), {count, vocabulary})});
  std::fwrite(logits.data(), sizeof(float), logits.size(), stdout);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: print_logits MODEL ATTENTION <IDS\n");
    return 2;
  }
  try {
    print(argv[1], argv[2]);
  } catch (const lowkey::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
