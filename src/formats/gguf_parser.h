// GgufParser: fills a Gguf from bytes nobody vouches for. One use: GgufParser(bytes, name).parse(gguf).
#pragma once

#include <span>
#include <string>
#include <vector>

#include "formats/byte_reader.h"
#include "formats/gguf.h"
#include "formats/gguf_types.h"

namespace lowkey {

class GgufParser {
 public:
  GgufParser(std::span<const std::byte> bytes, const std::string& name);

  // Throws kCorruptFile, kUnsupported; gguf is then of no use.
  void parse(Gguf& gguf);

 private:
  struct TensorInfo {
    std::string name;
    View view;  // no data yet
    uint64_t offset;
  };

  void read_head(Gguf& gguf);
  void read_pair(Gguf& gguf);
  GgufType read_type(const std::string& field);
  GgufValue read_value(GgufType, const std::string& field);
  GgufArray read_array(const std::string& field);
  void find_alignment(const Gguf& gguf);
  void read_tensor_info(uint64_t index);
  void read_shape(View& view, const std::string& field);
  DType read_dtype(const std::string& field);
  void place_tensors(Gguf& gguf);

  std::span<const std::byte> bytes_;
  ByteReader reader_;
  const std::string& place_;
  uint64_t tensor_count_ = 0, pair_count_ = 0;
  uint64_t alignment_ = kGgufAlignment;
  std::vector<TensorInfo> infos_;
};

}  // namespace lowkey
