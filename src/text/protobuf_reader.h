// ProtobufReader: the fields of a protocol buffer message, one after the other, every length checked.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "base/error.h"

namespace lowkey {

class ProtobufReader {
 public:
  struct Field {
    uint64_t number = 0;
    uint64_t value = 0;      // of a varint or a fixed number
    std::string_view bytes;  // of a string or a message
    bool is_bytes = false;

    float real() const noexcept {
      const auto bits = static_cast<uint32_t>(value);
      float real = 0;
      std::memcpy(&real, &bits, sizeof(real));
      return real;
    }
  };

  // Borrows the bytes; `source` names the file in errors.
  ProtobufReader(std::string_view bytes, const std::string& source) : bytes_(bytes), source_(source) {}

  // False at the end. Throws kCorruptFile.
  bool next(Field* field) {
    if (at_ == bytes_.size()) return false;
    const uint64_t tag = varint();
    *field = {.number = tag >> 3, .bytes = {}};
    switch (tag & 7) {
      case 0:
        field->value = varint();
        break;
      case 1:
        field->value = fixed(8);
        break;
      case 2:
        field->bytes = take(varint());
        field->is_bytes = true;
        break;
      case 5:
        field->value = fixed(4);
        break;
      default:
        refuse("an unknown kind of field");
    }
    return true;
  }

 private:
  [[noreturn]] void refuse(std::string_view what) const {
    throw Error(ErrorKind::kCorruptFile,
                fmt::format("[tokenizer] {}: {} at byte {} of a message of {}, must be a SentencePiece model", source_,
                            what, at_, bytes_.size()));
  }
  std::string_view take(uint64_t size) {
    if (size > bytes_.size() - at_) refuse(fmt::format("{} bytes", size));
    const std::string_view taken = bytes_.substr(at_, size);
    at_ += size;
    return taken;
  }
  uint64_t fixed(size_t size) {  // little-endian
    uint64_t value = 0;
    const std::string_view taken = take(size);
    for (size_t i = 0; i < size; ++i) value |= uint64_t{static_cast<uint8_t>(taken[i])} << 8 * i;
    return value;
  }
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<uint8_t>(take(1)[0]);
      value |= uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) return value;
    }
    refuse("a number without an end");
  }

  std::string_view bytes_;
  const std::string& source_;
  size_t at_ = 0;
};

}  // namespace lowkey
