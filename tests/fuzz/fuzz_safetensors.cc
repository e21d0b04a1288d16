// The first byte chooses: one file, or an index of shards.
#include <cstdint>

#include "formats/safetensors.h"
#include "formats/safetensors_parser.h"
#include "fuzz/touch.h"

using namespace lowkey;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const auto bytes = std::as_bytes(std::span(data + 1, size - 1));
  try {
    if (data[0] == 'i') {
      const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
      for (const auto& [tensor, shard] : parse_safetensors_index(text, "fuzz.index.json"))
        if (shard.find('/') != std::string::npos) std::abort();
    } else {
      const Safetensors file = Safetensors::parse(bytes, "fuzz.safetensors");
      for (const auto& [name, view] : file.tensors()) touch(view);
    }
  } catch (const Error& error) {
    require_one_line(error);
  }
  return 0;
}
