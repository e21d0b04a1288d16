// Any bytes are either refused with Error or a file all of whose parts can be touched.
#include <cstdint>

#include "formats/gguf.h"
#include "fuzz/touch.h"

using namespace lowkey;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const Gguf file = Gguf::parse(std::as_bytes(std::span(data, size)), "fuzz.gguf");
    for (const GgufTensor& tensor : file.tensors()) touch(tensor.view);
    for (const auto& [key, value] : file.metadata()) {
      // Every look-up on every key: right ones return, others throw.
      const auto attempt = [](auto&& look_up) {
        try {
          look_up();
        } catch (const Error&) {
        }
      };
      attempt([&] { file.integer(key, 0); });
      attempt([&] { file.number(key, 0); });
      attempt([&] { file.boolean(key, false); });
      attempt([&] { file.text(key, ""); });
      attempt([&] { file.texts(key); });
      attempt([&] { file.integers(key); });
      attempt([&] { file.numbers(key); });
    }
  } catch (const Error& error) {
    require_one_line(error);
  }
  return 0;
}
