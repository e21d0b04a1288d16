// The order of a GGUF file: magic, version, tensor count, pair count, the metadata pairs, the tensor infos
// (name, dims, type, offset), padding up to the alignment, tensor data.
#include "formats/gguf_parser.h"

#include <algorithm>
#include <bit>

#include "base/error.h"
#include "base/printable.h"

namespace lowkey {
namespace {

// Far above any real model (a thousand or two of tensors), low enough to bound the work a bad file causes.
constexpr uint64_t kMaxTensors = 65536;
constexpr uint64_t kMaxPairs = 65536;
constexpr uint64_t kMaxArray = uint64_t{1} << 24;
constexpr uint64_t kMaxKeyBytes = 65535;
constexpr uint64_t kMaxAlignment = 65536;
// The fewest bytes a metadata pair (key length, 1 byte, type, value) and a tensor info (name length, 1 byte,
// rank, one dimension, type, offset) can take.
constexpr uint64_t kLeastPair = 8 + 1 + 4 + 1;
constexpr uint64_t kLeastInfo = 8 + 1 + 4 + 8 + 4 + 8;
constexpr std::string_view kSupported = "F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K to Q6_K, I32, I8";

}  // namespace

GgufParser::GgufParser(std::span<const std::byte> bytes, const std::string& name)
    : bytes_(bytes), reader_(bytes, "[gguf] " + printable(name, 300)), place_(reader_.place()) {}

void GgufParser::parse(Gguf& gguf) {
  read_head(gguf);
  for (uint64_t i = 0; i < pair_count_; ++i) read_pair(gguf);
  find_alignment(gguf);
  // Checked a second time: the metadata took its bytes since.
  LK_REQUIRE(tensor_count_ <= reader_.remaining() / kLeastInfo, kCorruptFile,
             "{}: tensor_count = {}, must be <= {}, what the {} bytes after the metadata can hold", place_,
             tensor_count_, reader_.remaining() / kLeastInfo, reader_.remaining());
  infos_.reserve(tensor_count_);
  for (uint64_t i = 0; i < tensor_count_; ++i) read_tensor_info(i);
  place_tensors(gguf);
}

void GgufParser::read_head(Gguf& gguf) {
  const auto magic = reader_.number<uint32_t>("magic");
  LK_REQUIRE(magic == 0x46554747, kCorruptFile, "{}: magic = {:#010x}, must be 0x46554747, 'GGUF'", place_, magic);
  const auto version = reader_.number<uint32_t>("version");
  LK_REQUIRE((version & 0xffff) != 0 || version == 0, kUnsupported,
             "{}: version = {:#010x}, a big-endian file, must be little-endian", place_, version);
  LK_REQUIRE(version == 2 || version == 3, kUnsupported, "{}: version = {}, must be 2 or 3", place_, version);
  gguf.version_ = static_cast<int>(version);
  tensor_count_ = reader_.count("tensor_count", kMaxTensors, kLeastInfo);
  pair_count_ = reader_.count("metadata_count", kMaxPairs, kLeastPair);
}

void GgufParser::read_pair(Gguf& gguf) {
  const std::string index = fmt::format("metadata[{}]", gguf.metadata_.size());
  const std::string_view key = reader_.text(index + ".key");
  LK_REQUIRE(!key.empty() && key.size() <= kMaxKeyBytes, kCorruptFile, "{}: {}.key length = {}, must be 1 to {}",
             place_, index, key.size(), kMaxKeyBytes);
  const std::string field = fmt::format("'{}'", printable(key));
  const GgufType type = read_type(field + ".type");
  const auto [entry, is_new] = gguf.metadata_.try_emplace(std::string(key), read_value(type, field));
  LK_REQUIRE(is_new, kCorruptFile, "{}: {} = {}, occurs twice, must be unique", place_, index, field);
}

GgufType GgufParser::read_type(const std::string& field) {
  const auto type = reader_.number<uint32_t>(field);
  LK_REQUIRE(type < kGgufTypes, kCorruptFile, "{}: {} = {}, must be < {}", place_, field, type, kGgufTypes);
  return static_cast<GgufType>(type);
}

GgufValue GgufParser::read_value(GgufType type, const std::string& field) {
  switch (type) {
    case GgufType::kUint8:
      return uint64_t{reader_.number<uint8_t>(field)};
    case GgufType::kUint16:
      return uint64_t{reader_.number<uint16_t>(field)};
    case GgufType::kUint32:
      return uint64_t{reader_.number<uint32_t>(field)};
    case GgufType::kUint64:
      return reader_.number<uint64_t>(field);
    case GgufType::kInt8:
      return int64_t{reader_.number<int8_t>(field)};
    case GgufType::kInt16:
      return int64_t{reader_.number<int16_t>(field)};
    case GgufType::kInt32:
      return int64_t{reader_.number<int32_t>(field)};
    case GgufType::kInt64:
      return reader_.number<int64_t>(field);
    case GgufType::kFloat32:
      return double{reader_.number<float>(field)};
    case GgufType::kFloat64:
      return reader_.number<double>(field);
    case GgufType::kString:
      return std::string(reader_.text(field));
    case GgufType::kArray:
      return read_array(field);
    case GgufType::kBool:
      break;
  }
  const auto byte = reader_.number<uint8_t>(field);
  LK_REQUIRE(byte <= 1, kCorruptFile, "{}: {} = {}, must be 0 or 1, a bool", place_, field, byte);
  return byte == 1;
}

GgufArray GgufParser::read_array(const std::string& field) {
  const GgufType type = read_type(field + ".element_type");
  LK_REQUIRE(type != GgufType::kArray, kUnsupported, "{}: {} = an array of arrays, must be of plain values", place_,
             field);
  const uint64_t count = reader_.count(field + ".count", kMaxArray, static_cast<uint64_t>(gguf_least_bytes(type)));
  const auto collect = [&]<typename T>(std::vector<T> values) {
    values.reserve(count);
    for (uint64_t i = 0; i < count; ++i) values.push_back(std::get<T>(read_value(type, field)));
    return GgufArray{std::move(values)};
  };
  switch (type) {
    case GgufType::kBool:
      return collect(std::vector<bool>{});
    case GgufType::kString:
      return collect(std::vector<std::string>{});
    case GgufType::kFloat32:
    case GgufType::kFloat64:
      return collect(std::vector<double>{});
    case GgufType::kInt8:
    case GgufType::kInt16:
    case GgufType::kInt32:
    case GgufType::kInt64:
      return collect(std::vector<int64_t>{});
    default:
      return collect(std::vector<uint64_t>{});
  }
}

void GgufParser::find_alignment(const Gguf& gguf) {
  const int64_t alignment = gguf.integer("general.alignment", kGgufAlignment);
  LK_REQUIRE(alignment >= 8 && alignment <= static_cast<int64_t>(kMaxAlignment) &&
                 std::has_single_bit(static_cast<uint64_t>(alignment)),
             kCorruptFile, "{}: 'general.alignment' = {}, must be a power of two from 8 to {}", place_, alignment,
             kMaxAlignment);
  alignment_ = static_cast<uint64_t>(alignment);
}

void GgufParser::read_tensor_info(uint64_t index) {
  const std::string number = fmt::format("tensor[{}].name", index);
  const std::string_view name = reader_.text(number);
  LK_REQUIRE(!name.empty() && name.size() <= kGgufMaxTensorName, kCorruptFile, "{}: {} length = {}, must be 1 to {}",
             place_, number, name.size(), kGgufMaxTensorName);
  const std::string field = fmt::format("tensor '{}'", printable(name));
  TensorInfo info{std::string(name), {}, 0};
  read_shape(info.view, field);
  info.view.dtype = read_dtype(field);
  const int block = block_elements(info.view.dtype);
  LK_REQUIRE(info.view.columns() % block == 0, kCorruptFile, "{}: {} row length = {}, must be a multiple of {} for {}",
             place_, field, info.view.columns(), block, lowkey::name(info.view.dtype));
  info.offset = reader_.number<uint64_t>(field + ".offset");
  LK_REQUIRE(info.offset % alignment_ == 0, kCorruptFile, "{}: {} offset = {}, must be a multiple of {}", place_, field,
             info.offset, alignment_);
  infos_.push_back(std::move(info));
}

void GgufParser::read_shape(View& view, const std::string& field) {
  const auto rank = reader_.number<uint32_t>(field + ".n_dims");
  LK_REQUIRE(rank >= 1 && rank <= View::kMaxRank, kCorruptFile, "{}: {} n_dims = {}, must be 1 to {}", place_, field,
             rank, View::kMaxRank);
  view.rank = static_cast<int>(rank);
  // A tensor has no more elements than twice the file's bytes (4 bits each), so products stay far below 2^63.
  const uint64_t most = 2 * bytes_.size();
  uint64_t product = 1;
  for (int i = view.rank - 1; i >= 0; --i) {  // the file has the fastest dimension first
    const auto dim = reader_.number<uint64_t>(field + ".dims");
    LK_REQUIRE(dim >= 1 && dim <= most / product, kCorruptFile,
               "{}: {} dims[{}] = {}, must be 1 to {}, what a file of {} bytes can hold", place_, field,
               view.rank - 1 - i, dim, most / product, bytes_.size());
    product *= dim;
    view.shape[static_cast<size_t>(i)] = static_cast<int64_t>(dim);
  }
}

DType GgufParser::read_dtype(const std::string& field) {
  const auto type = reader_.number<uint32_t>(field + ".type");
  const auto dtype = dtype_of_gguf(type);
  const std::string_view known = gguf_tensor_type_name(type);
  LK_REQUIRE(dtype, kUnsupported, "{}: {} type = {} ({}), must be one of {}", place_, field, type,
             known.empty() ? "unknown or removed" : known, kSupported);
  return *dtype;
}

void GgufParser::place_tensors(Gguf& gguf) {
  const uint64_t start = (reader_.position() + alignment_ - 1) / alignment_ * alignment_;
  const uint64_t size = bytes_.size() > start ? bytes_.size() - start : 0;
  uint64_t end = 0;
  std::vector<const TensorInfo*> by_offset;
  for (TensorInfo& info : infos_) {
    const auto bytes = static_cast<uint64_t>(info.view.bytes());
    LK_REQUIRE(bytes <= size && info.offset <= size - bytes, kCorruptFile,
               "{}: tensor '{}' offset = {} with {} bytes, must end within the {} bytes of tensor data", place_,
               printable(info.name), info.offset, bytes, size);
    info.view.data = const_cast<std::byte*>(bytes_.data() + start + info.offset);
    const bool is_new = gguf.by_name_.try_emplace(info.name, gguf.tensors_.size()).second;
    LK_REQUIRE(is_new, kCorruptFile, "{}: tensor name = '{}', occurs twice, must be unique", place_,
               printable(info.name));
    gguf.tensors_.push_back({info.name, info.view});
    by_offset.push_back(&info);
  }
  std::sort(by_offset.begin(), by_offset.end(), [](auto* a, auto* b) { return a->offset < b->offset; });
  for (const TensorInfo* info : by_offset) {
    LK_REQUIRE(info->offset >= end, kCorruptFile, "{}: tensor '{}' offset = {}, overlaps another, must be >= {}",
               place_, printable(info->name), info->offset, end);
    end = info->offset + static_cast<uint64_t>(info->view.bytes());
  }
}

}  // namespace lowkey
