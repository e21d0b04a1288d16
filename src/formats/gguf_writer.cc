#include "formats/gguf_writer.h"

#include <set>

#include "base/error.h"
#include "base/printable.h"
#include "base/view.h"
#include "formats/gguf_types.h"
#include "formats/new_file.h"

namespace lowkey {
namespace {

constexpr size_t kPadding = kGgufAlignment;

int64_t padded(int64_t bytes) { return (bytes + kGgufAlignment - 1) / kGgufAlignment * kGgufAlignment; }

struct Announced {
  std::string name;
  int64_t bytes;
};

template <typename T>
void append(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void append(std::string& out, const std::string& text) {
  append(out, uint64_t{text.size()});
  out.append(text);
}

}  // namespace

struct GgufWriter::Impl {
  explicit Impl(const std::filesystem::path& path) : file(path, "gguf") {}

  NewFile file;
  std::string pairs, infos;  // the two parts of the head, as they will lie in the file
  uint64_t pair_count = 0;
  std::set<std::string> keys, names;
  std::vector<Announced> tensors;
  int64_t next_offset = 0;  // of the next tensor announced, from the start of tensor data
  size_t written = 0;       // tensors
  bool head_done = false;

  const std::string& place() const { return file.place(); }

  void open_key(const std::string& key, GgufType type) {
    LK_REQUIRE(!head_done, kInvalidArgument, "{}: '{}' set after the first write", place(), printable(key));
    LK_REQUIRE(!key.empty() && keys.insert(key).second, kInvalidArgument,
               "{}: key = '{}', must not be empty or set twice", place(), printable(key));
    append(pairs, key);
    append(pairs, static_cast<uint32_t>(type));
    ++pair_count;
  }

  void open_array(const std::string& key, GgufType type, size_t count) {
    open_key(key, GgufType::kArray);
    append(pairs, static_cast<uint32_t>(type));
    append(pairs, uint64_t{count});
  }

  void put_padding(size_t size) {
    constexpr char kZeros[kPadding] = {};
    file.write(kZeros, (kPadding - size % kPadding) % kPadding);
  }

  void put_head() {
    if (head_done) return;
    std::string head(kGgufMagic);
    append(head, kGgufVersion);
    append(head, uint64_t{tensors.size()});
    append(head, pair_count);
    head += pairs;
    head += infos;
    file.write(head.data(), head.size());
    if (!tensors.empty()) put_padding(head.size());
    head_done = true;
  }
};

GgufWriter::GgufWriter(const std::filesystem::path& path) : impl_(std::make_unique<Impl>(path)) {}

GgufWriter::~GgufWriter() = default;

void GgufWriter::set(const std::string& key, uint32_t value) {
  impl_->open_key(key, GgufType::kUint32);
  append(impl_->pairs, value);
}

void GgufWriter::set(const std::string& key, float value) {
  impl_->open_key(key, GgufType::kFloat32);
  append(impl_->pairs, value);
}

void GgufWriter::set(const std::string& key, bool value) {
  impl_->open_key(key, GgufType::kBool);
  append(impl_->pairs, static_cast<uint8_t>(value));
}

void GgufWriter::set(const std::string& key, const std::string& value) {
  impl_->open_key(key, GgufType::kString);
  append(impl_->pairs, value);
}

void GgufWriter::set(const std::string& key, const std::vector<std::string>& values) {
  impl_->open_array(key, GgufType::kString, values.size());
  for (const std::string& value : values) append(impl_->pairs, value);
}

void GgufWriter::set(const std::string& key, const std::vector<int8_t>& values) {
  impl_->open_array(key, GgufType::kInt8, values.size());
  for (int8_t value : values) append(impl_->pairs, value);
}

void GgufWriter::set(const std::string& key, const std::vector<int32_t>& values) {
  impl_->open_array(key, GgufType::kInt32, values.size());
  for (int32_t value : values) append(impl_->pairs, value);
}

void GgufWriter::set(const std::string& key, const std::vector<float>& values) {
  impl_->open_array(key, GgufType::kFloat32, values.size());
  for (float value : values) append(impl_->pairs, value);
}

void GgufWriter::announce(const std::string& tensor, DType dtype, std::span<const int64_t> shape) {
  const std::string place = impl_->place() + ": tensor '" + printable(tensor) + "'";
  LK_REQUIRE(!impl_->head_done, kInvalidArgument, "{} announced after the first write", place);
  LK_REQUIRE(!tensor.empty() && tensor.size() <= kGgufMaxTensorName && impl_->names.insert(tensor).second,
             kInvalidArgument, "{}, must be 1 to {} bytes and unique", place, kGgufMaxTensorName);
  LK_REQUIRE(!shape.empty() && shape.size() <= View::kMaxRank, kInvalidArgument, "{} rank = {}, must be 1 to {}", place,
             shape.size(), View::kMaxRank);
  View view(nullptr, dtype, {});
  view.rank = static_cast<int>(shape.size());
  for (size_t i = 0; i < shape.size(); ++i) {
    LK_REQUIRE(shape[i] >= 1, kInvalidArgument, "{} shape[{}] = {}, must be >= 1", place, i, shape[i]);
    view.shape[i] = shape[i];
  }
  LK_REQUIRE(view.columns() % block_elements(dtype) == 0, kInvalidArgument,
             "{} row length = {}, must be a multiple of {} for {}", place, view.columns(), block_elements(dtype),
             name(dtype));
  append(impl_->infos, tensor);
  append(impl_->infos, static_cast<uint32_t>(view.rank));
  for (int i = view.rank - 1; i >= 0; --i) append(impl_->infos, static_cast<uint64_t>(view.dim(i)));
  append(impl_->infos, gguf_tensor_type(dtype));
  append(impl_->infos, static_cast<uint64_t>(impl_->next_offset));
  impl_->tensors.push_back({tensor, view.bytes()});
  impl_->next_offset += padded(view.bytes());
}

void GgufWriter::write(const std::string& tensor, std::span<const std::byte> bytes) {
  const std::string place = impl_->place() + ": tensor '" + printable(tensor) + "'";
  LK_REQUIRE(impl_->written < impl_->tensors.size(), kInvalidArgument, "{} was not announced", place);
  const Announced& next = impl_->tensors[impl_->written];
  LK_REQUIRE(tensor == next.name, kInvalidArgument, "{} written, the next announced is '{}'", place, next.name);
  LK_REQUIRE(static_cast<int64_t>(bytes.size()) == next.bytes, kInvalidArgument, "{} bytes = {}, must be {}", place,
             bytes.size(), next.bytes);
  impl_->put_head();
  impl_->file.write(bytes.data(), bytes.size());
  impl_->put_padding(bytes.size());
  ++impl_->written;
}

void GgufWriter::finish() {
  LK_REQUIRE(impl_->written == impl_->tensors.size(), kInvalidArgument, "{}: tensors written = {}, must be {}",
             impl_->place(), impl_->written, impl_->tensors.size());
  impl_->put_head();
  impl_->file.finish();
}

}  // namespace lowkey
