#include "model/checkpoint.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <sstream>

#include "base/error.h"
#include "ops/quantize.h"

namespace lowkey {
std::string read_text(const std::filesystem::path& path, int64_t most) {
  std::error_code error;
  LK_REQUIRE(std::filesystem::exists(path, error), kNotFound, "[file] {}: not found", path.string());
  LK_REQUIRE(std::filesystem::is_regular_file(path, error), kCorruptFile, "[file] {}: not a file", path.string());
  const auto size = static_cast<int64_t>(std::filesystem::file_size(path, error));
  LK_REQUIRE(!error && size <= most, kCorruptFile, "[file] {}: size={} bytes, must be <= {}", path.string(), size,
             most);
  std::ifstream stream(path, std::ios::binary);
  std::ostringstream text;
  text << stream.rdbuf();
  LK_REQUIRE(stream.good(), kNotFound, "[file] {}: cannot be read", path.string());
  return std::move(text).str();
}

namespace {

// Rows of [H, 3, D] become those of [3, H, D].
void set_heads_apart(const View& from, int64_t heads, int64_t head_dim, std::byte* out) {
  const auto size = static_cast<size_t>(from.bytes() / (3 * heads * head_dim));
  const auto* rows = static_cast<const std::byte*>(from.data);
  for (int64_t part = 0; part < 3; ++part)
    for (int64_t head = 0; head < heads; ++head, out += size * static_cast<size_t>(head_dim))
      std::memcpy(out, rows + static_cast<size_t>((head * 3 + part) * head_dim) * size,
                  size * static_cast<size_t>(head_dim));
}

template <typename T>
void transpose(const View& from, std::byte* out) {
  const auto* x = static_cast<const T*>(from.data);
  auto* y = reinterpret_cast<T*>(out);
  const int64_t rows = from.dim(0), columns = from.dim(1);
  for (int64_t c = 0; c < columns; ++c)
    for (int64_t r = 0; r < rows; ++r) *y++ = x[r * columns + c];
}

}  // namespace

Checkpoint Checkpoint::open(const std::filesystem::path& path, FilePlace place) {
  Checkpoint checkpoint;
  checkpoint.path_ = path.string();
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) {
    const auto config = path / "config.json";
    checkpoint.config_ = parse_config(read_text(config, kMaxConfigBytes), config.string());
    checkpoint.safetensors_ = Safetensors::open(path, place);
    checkpoint.copy_changed();
  } else {
    checkpoint.gguf_ = Gguf::open(path, place);
    checkpoint.config_ = read_config(*checkpoint.gguf_);
    checkpoint.read_divisors();
  }
  return checkpoint;
}

// What a GGUF file says of RoPE in tensors.
void Checkpoint::read_divisors() {
  const std::pair<const char*, std::vector<float>*> lists[] = {
      {"rope_freqs.weight", &config_.rope.divisors},
      {"rope_factors_long.weight", &config_.rope.divisors},
      {"rope_factors_short.weight", &config_.rope.short_divisors}};
  for (const auto& [name, values] : lists) {
    if (find(name) == nullptr || config_.rope.dims == 0) continue;
    const int64_t count = config_.rope.dims / 2;
    *values = floats(checked_weights(find(name), path_, name, {&count, 1}), path_, name);
    for (float divisor : *values)
      LK_REQUIRE(std::isfinite(divisor) && divisor > 0, kCorruptFile, "[model] {}: {} holds {}, must be finite and > 0",
                 path_, name, divisor);
  }
}

void Checkpoint::copy_changed() {
  for (const TensorSpec& spec : tensors_of(config_)) {
    const auto [name, change] = hugging_face_tensor(*config_.family, spec.name);
    if (change == TensorChange::kNone) continue;
    std::vector<int64_t> stored = spec.shape;
    if (change == TensorChange::kTranspose) std::reverse(stored.begin(), stored.end());
    const View from = checked_weights(find_in_folder(name), path_, name, stored);
    LK_REQUIRE(!is_quantised(from.dtype) && row_bytes(from.dtype, 1) >= 2, kUnsupported,
               "[model] {}: tensor {} is {}, must be f32, f16 or bf16", path_, name, from.describe());
    Copy& copy = copies_[spec.name];
    copy.view = from;
    if (change == TensorChange::kPlusOne) {
      const std::vector<float> gains = floats(from, path_, name);
      copy.bytes.resize(gains.size() * sizeof(float));
      std::transform(gains.begin(), gains.end(), reinterpret_cast<float*>(copy.bytes.data()),
                     [](float w) { return 1 + w; });
      copy.view.dtype = DType::kF32;
    } else {
      copy.bytes.resize(static_cast<size_t>(from.bytes()));
      if (change == TensorChange::kHeadsApart) {
        set_heads_apart(from, config_.heads, config_.head_dim, copy.bytes.data());
      } else {
        row_bytes(from.dtype, 1) == 4 ? transpose<uint32_t>(from, copy.bytes.data())
                                      : transpose<uint16_t>(from, copy.bytes.data());
      }
    }
    copy.view.data = copy.bytes.data();
    std::copy(spec.shape.begin(), spec.shape.end(), copy.view.shape.begin());
  }
}

const View* Checkpoint::find_in_folder(const std::string& name) const {
  const View* found = safetensors_->find(name);
  const std::string_view prefix = config_.family->optional_prefix;
  if (found == nullptr && !prefix.empty() && name.starts_with(prefix))
    return safetensors_->find(name.substr(prefix.size()));
  return found;
}

const View* Checkpoint::find(const std::string& name) const {
  if (gguf_) return gguf_->find(name);
  if (const auto copy = copies_.find(name); copy != copies_.end()) return &copy->second.view;
  return find_in_folder(hugging_face_tensor(*config_.family, name).name);
}

View Checkpoint::read_tensor(const std::string& name, std::span<const int64_t> shape, int expert) const {
  if (gguf_ || copies_.contains(name)) return checked_weights(find(name), path_, name, shape);
  const std::string stored = hugging_face_tensor(*config_.family, name, expert).name;
  return checked_weights(find_in_folder(stored), path_, stored, shape);
}

std::vector<View> Checkpoint::require(const TensorSpec& spec) const {
  if (spec.shape.size() < 3) return {read_tensor(spec.name, spec.shape, 0)};
  const std::span<const int64_t> expert = std::span(spec.shape).subspan(1);
  std::vector<View> experts;
  const View whole = gguf_ ? read_tensor(spec.name, spec.shape, 0) : View();
  for (int64_t e = 0; e < spec.shape[0]; ++e)
    experts.push_back(gguf_ ? whole.slice_rows(e * expert[0], (e + 1) * expert[0])
                            : read_tensor(spec.name, expert, static_cast<int>(e)));
  return experts;
}

View checked_weights(const View* found, const std::string& path, const std::string& name,
                     std::span<const int64_t> shape) {
  LK_REQUIRE(found != nullptr, kNotFound, "[model] {}: tensor {} is missing", path, name);
  LK_REQUIRE(is_weight(found->dtype), kUnsupported, "[model] {}: tensor {} is {}, must be of floats or quantised", path,
             name, found->describe());
  View wanted(nullptr, found->dtype, {});
  wanted.rank = static_cast<int>(shape.size());
  std::copy(shape.begin(), shape.end(), wanted.shape.begin());
  LK_REQUIRE(found->rank == wanted.rank && found->shape == wanted.shape, kCorruptFile,
             "[model] {}: tensor {} is {}, must be {}", path, name, found->describe(), wanted.describe());
  return *found;
}

std::vector<float> floats(const View& stored, const std::string& path, const std::string& name) {
  LK_REQUIRE(!is_quantised(stored.dtype), kUnsupported, "[model] {}: tensor {} is {}, must be f32, f16 or bf16", path,
             name, lowkey::name(stored.dtype));
  std::vector<float> values(static_cast<size_t>(stored.elements()));
  dequantize_row(stored.dtype, stored.data, values.data(), stored.elements());
  return values;
}

void Checkpoint::check_unchanged() const {
  if (gguf_) gguf_->check_unchanged();
  if (safetensors_) safetensors_->check_unchanged();
}

}  // namespace lowkey
