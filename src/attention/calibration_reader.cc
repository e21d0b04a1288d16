// Calibration from a safetensors file. Nothing in it is believed before it is checked.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "attention/calibration_names.h"
#include "base/error.h"
#include "base/json.h"
#include "base/printable.h"
#include "formats/safetensors.h"

namespace lowkey {
namespace {

constexpr int kMaxLayers = 1024, kMaxHeads = 1024, kMaxDims = 1024;
constexpr int64_t kMaxTokens = int64_t{1} << 50;
constexpr double kEps = 0x1p-23;  // of f32

class Reader {
 public:
  explicit Reader(const std::filesystem::path& path)
      : file_(Safetensors::open(path)), place_("[calibration] " + printable(path.string(), 300)) {}

  Calibration read() {
    metadata();
    c_.mean = floats("mean", {c_.head_dim});
    for (BasisKind kind : kBasisKinds) basis(kind);
    for (const auto& [tensor, view] : file_.tensors()) codebooks_of(tensor);
    if (file_.find("statistics.sample") != nullptr) statistics();
    return std::move(c_);
  }

 private:
  // ---- metadata
  const std::string& word(const std::string& key) const {
    const auto found = file_.metadata().find(key);
    LK_REQUIRE(found != file_.metadata().end(), kCorruptFile, "{}: has no metadata '{}', is it a calibration?", place_,
               key);
    return found->second;
  }

  int64_t number(const std::string& key, int64_t least, int64_t most) const {
    const std::string& text = word(key);
    int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    LK_REQUIRE(error == std::errc() && end == text.data() + text.size() && value >= least && value <= most,
               kCorruptFile, "{}: metadata {} = '{}', must be {} to {}", place_, key, printable(text), least, most);
    return value;
  }

  void metadata() {
    LK_REQUIRE(word("format") == kCalibrationFormat, kUnsupported, "{}: format '{}', must be {}", place_,
               printable(word("format")), kCalibrationFormat);
    c_.model = word("model");
    c_.tool = word("tool");
    c_.layers = static_cast<int>(number("layers", 1, kMaxLayers));
    c_.kv_heads = static_cast<int>(number("kv_heads", 1, kMaxHeads));
    c_.head_dim = static_cast<int>(number("head_dim", 2, kMaxDims));
    LK_REQUIRE(c_.head_dim % 2 == 0, kCorruptFile, "{}: metadata head_dim = {}, must be even", place_, c_.head_dim);
    c_.tokens = number("tokens", 1, kMaxTokens);
    c_.context = number("context", 1, kMaxTokens);
    const nlohmann::json texts = parse_json(word("texts"), place_ + ": metadata texts");
    LK_REQUIRE(texts.is_array(), kCorruptFile, "{}: metadata texts is {}, must be an array", place_, texts.type_name());
    for (const auto& text : texts) {
      const bool sound = text.is_object() && text.contains("name") && text["name"].is_string() &&
                         text.contains("hash") && text["hash"].is_string() && text.contains("bytes") &&
                         text["bytes"].is_number_unsigned();
      LK_REQUIRE(sound, kCorruptFile, "{}: metadata texts, each must have name, bytes and hash", place_);
      c_.texts.push_back({text["name"], text["bytes"], text["hash"]});
    }
    if (file_.metadata().contains("profile")) profile();
  }

  void profile() {
    const nlohmann::json json = parse_json(word("profile"), place_ + ": metadata profile");
    const auto is_text = [](const nlohmann::json& j) { return j.is_string(); };
    const bool sound = json.is_object() && json.contains("about") && json["about"].is_string() &&
                       json.contains("layers") && json["layers"].is_array() &&
                       json["layers"].size() == static_cast<size_t>(c_.layers) &&
                       std::all_of(json["layers"].begin(), json["layers"].end(), is_text);
    LK_REQUIRE(sound, kCorruptFile,
               "{}: metadata profile, must have a text about it and a method for each of {} layers", place_, c_.layers);
    c_.profile = Profile{.layers = json["layers"], .about = json["about"]};
  }

  // ---- tensors
  const View& tensor(const std::string& name, DType dtype, std::initializer_list<int64_t> per_head) const {
    View expected(nullptr, dtype, {c_.layers, c_.kv_heads});
    for (int64_t n : per_head) expected.shape[static_cast<size_t>(expected.rank++)] = n;
    const View* found = file_.find(name);
    LK_REQUIRE(found != nullptr, kCorruptFile, "{}: has no tensor '{}', must be {}", place_, name, expected.describe());
    LK_REQUIRE(found->describe() == expected.describe(), kCorruptFile, "{}: tensor '{}' is {}, must be {}", place_,
               name, found->describe(), expected.describe());
    return *found;
  }

  // "tensor 'x' of layer 3, KV head 1", for element i of so many a head.
  std::string where(const std::string& name, size_t i, size_t per_head) const {
    const size_t head = i / per_head, kv_heads = static_cast<size_t>(c_.kv_heads);
    return fmt::format("{}: tensor '{}' of layer {}, KV head {}", place_, name, head / kv_heads, head % kv_heads);
  }
  size_t heads() const { return static_cast<size_t>(c_.layers) * static_cast<size_t>(c_.kv_heads); }

  std::vector<float> floats(const std::string& name, std::initializer_list<int64_t> per_head) const {
    const View& view = tensor(name, DType::kF32, per_head);
    std::vector<float> values(view.f32(), view.f32() + view.elements());
    for (size_t i = 0; i < values.size(); ++i)
      LK_REQUIRE(std::isfinite(values[i]), kCorruptFile, "{} holds {}, must be finite",
                 where(name, i, values.size() / heads()), values[i]);
    return values;
  }

  std::vector<int32_t> integers(const std::string& name, std::initializer_list<int64_t> per_head, int32_t least,
                                int32_t most) const {
    const View& view = tensor(name, DType::kI32, per_head);
    const auto* data = static_cast<const int32_t*>(view.data);
    std::vector<int32_t> values(data, data + view.elements());
    for (size_t i = 0; i < values.size(); ++i)
      LK_REQUIRE(values[i] >= least && values[i] <= most, kCorruptFile, "{} holds {}, must be {} to {}",
                 where(name, i, values.size() / heads()), values[i], least, most);
    return values;
  }

  std::vector<float> variances(const std::string& name) const {
    const auto values = floats(name, {c_.head_dim});
    for (size_t i = 0; i < values.size(); ++i)
      LK_REQUIRE(values[i] >= 0, kCorruptFile, "{} holds {}, must be >= 0",
                 where(name, i, static_cast<size_t>(c_.head_dim)), values[i]);
    return values;
  }

  void basis(BasisKind kind) {
    KeyBasis& b = c_.bases[static_cast<size_t>(kind)];
    const std::string p = tensor_prefix(kind);
    const auto dims = static_cast<size_t>(c_.head_dim);
    b.key = floats(p + "key", {c_.head_dim, c_.head_dim});
    b.query = !is_orthogonal(kind) ? floats(p + "query", {c_.head_dim, c_.head_dim}) : b.key;
    b.spectrum = variances(p + "spectrum");
    for (size_t i = 1; i < b.spectrum.size(); ++i)
      LK_REQUIRE(i % dims == 0 || b.spectrum[i] <= b.spectrum[i - 1], kCorruptFile,
                 "{} rises from {} to {}, must be descending", where(p + "spectrum", i, dims), b.spectrum[i - 1],
                 b.spectrum[i]);
    b.variance = variances(p + "variance");
    b.weight = variances(p + "weight");
    b.ranks = integers(p + "ranks", {static_cast<int64_t>(kRankShares.size())}, 1, c_.head_dim);
    for (size_t head = 0; head < heads(); ++head) check_inverse(kind, b, head);
  }

  // query^T key must be 1, but for the rounding of the numbers to f32: half a unit in the last place of each factor,
  // so kEps times the sum of the sizes of the products; twice that is allowed.
  void check_inverse(BasisKind kind, const KeyBasis& b, size_t head) const {
    const auto dims = static_cast<size_t>(c_.head_dim);
    const float* key = b.key.data() + head * dims * dims;
    const float* query = b.query.data() + head * dims * dims;
    std::vector<double> sum(dims), size(dims);
    for (size_t i = 0; i < dims; ++i) {
      std::fill(sum.begin(), sum.end(), 0.0);
      std::fill(size.begin(), size.end(), 0.0);
      for (size_t r = 0; r < dims; ++r)
        for (size_t j = 0; j < dims; ++j) {
          const double product = double{query[r * dims + i]} * key[r * dims + j];
          sum[j] += product, size[j] += std::abs(product);
        }
      for (size_t j = 0; j < dims; ++j) {
        const double wrong = std::abs(sum[j] - (i == j ? 1 : 0)), allowed = 2 * kEps * (1 + size[j]);
        LK_REQUIRE(wrong <= std::min(allowed, 0.01), kCorruptFile,
                   "{} is {}: off by {:.2g} at ({}, {}), allowed {:.2g}", where(tensor_prefix(kind) + "key", head, 1),
                   is_orthogonal(kind) ? "not orthogonal" : "not the inverse of 'query'", wrong, i, j, allowed);
      }
    }
  }

  // ---- codebooks: those whose 'order' is there
  void codebooks_of(const std::string& tensor) {
    for (BasisKind kind : kBasisKinds) {
      const std::string start = tensor_prefix(kind) + "pq";
      if (!tensor.starts_with(start) || !tensor.ends_with(".order")) continue;
      int bits = 0;
      const char* end = tensor.data() + tensor.size() - std::strlen(".order");
      const auto [stop, error] = std::from_chars(tensor.data() + start.size(), end, bits);
      LK_REQUIRE(error == std::errc() && stop == end && bits >= 4 && bits <= 1024 && bits % 4 == 0, kCorruptFile,
                 "{}: tensor '{}', the bits must be 4 to 1024 and a multiple of 4", place_, printable(tensor));
      c_.codebooks.push_back(codebooks(kind, bits));
    }
  }

  Codebooks codebooks(BasisKind kind, int bits) const {
    const std::string p = tensor_prefix(kind, bits);
    const int dims = c_.head_dim;
    Codebooks books{.basis = kind, .bits = bits};
    books.order = integers(p + "order", {dims}, 0, dims - 1);
    books.nibbles = integers(p + "nibbles", {bits / 4, 2}, 0, dims);
    const View* entries = file_.find(p + "entries");
    const int64_t most = int64_t{bits} / 4 * dims;
    const int64_t rows = entries != nullptr && entries->rank == 4 ? entries->dim(2) : 0;
    LK_REQUIRE(rows >= 1 && rows <= most, kCorruptFile, "{}: tensor '{}entries' has {} rows a head, must be 1 to {}",
               place_, p, rows, most);
    books.rows = static_cast<int>(rows);
    books.entries = floats(p + "entries", {rows, kCalibrationEntries});
    for (size_t head = 0; head < heads(); ++head) check_codes(p, books, head);
    return books;
  }

  void check_codes(const std::string& p, const Codebooks& books, size_t head) const {
    const auto dims = static_cast<size_t>(c_.head_dim), nibbles = static_cast<size_t>(books.bits / 4);
    std::vector<bool> seen(dims, false);
    for (size_t i = head * dims; i < (head + 1) * dims; ++i) {
      const auto coordinate = static_cast<size_t>(books.order[i]);
      LK_REQUIRE(!seen[coordinate], kCorruptFile, "{} names coordinate {} twice", where(p + "order", i, dims),
                 coordinate);
      seen[coordinate] = true;
    }
    int64_t rows = 0;
    for (size_t i = head * nibbles; i < (head + 1) * nibbles; ++i) {
      const int32_t begin = books.nibbles[2 * i], width = books.nibbles[2 * i + 1];
      LK_REQUIRE(width >= 1 && begin + width <= c_.head_dim, kCorruptFile,
                 "{} holds {} coordinates from {}, must be 1 or more within {}", where(p + "nibbles", i, nibbles),
                 width, begin, c_.head_dim);
      rows += width;
    }
    LK_REQUIRE(rows <= books.rows, kCorruptFile, "{} needs {} rows of entries, must be at most {}",
               where(p + "nibbles", head, 1), rows, books.rows);
  }

  // ---- statistics
  std::vector<double> doubles(const std::string& name, std::initializer_list<int64_t> per_head) const {
    const auto values = floats(name, per_head);
    return {values.begin(), values.end()};
  }

  std::vector<float> frequencies() const {
    const std::string name = "statistics.inverse_frequency";
    const View* found = file_.find(name);
    const bool fits = found != nullptr && found->dtype == DType::kF32 && found->rank == 1 && found->columns() >= 1 &&
                      found->columns() <= c_.head_dim / 2;
    LK_REQUIRE(fits, kCorruptFile, "{}: tensor '{}' is {}, must be f32[1 to {}]", place_, name,
               found == nullptr ? "absent" : found->describe(), c_.head_dim / 2);
    const std::vector<float> values(found->f32(), found->f32() + found->elements());
    for (float f : values)
      LK_REQUIRE(std::isfinite(f), kCorruptFile, "{}: tensor '{}' holds {}, must be finite", place_, name, f);
    return values;
  }

  void statistics() {
    const int64_t dims = c_.head_dim;
    KeyStatistics s{.layers = c_.layers, .kv_heads = c_.kv_heads, .head_dim = c_.head_dim, .tokens = c_.tokens};
    s.first = number("first_position", 0, kMaxTokens);
    s.end = number("end_position", s.first + 1, kMaxTokens);
    s.inverse_frequency = frequencies();
    s.pre_mean = doubles("statistics.pre_mean", {dims});
    s.post_mean = doubles("statistics.post_mean", {dims});
    s.pre_covariance = doubles("statistics.pre_covariance", {dims, dims});
    s.post_covariance = doubles("statistics.post_covariance", {dims, dims});
    s.query_moment = doubles("statistics.query_moment", {dims, dims});
    const View* sample = file_.find("statistics.sample");
    s.sample_size = sample->rank == 4 ? sample->dim(2) : 0;
    const View& checked = tensor("statistics.sample", DType::kF16, {s.sample_size, dims});
    const auto* data = static_cast<const uint16_t*>(checked.data);
    s.sample.assign(data, data + checked.elements());
    for (size_t i = 0; i < s.sample.size(); ++i)
      LK_REQUIRE((s.sample[i] & 0x7c00u) != 0x7c00u, kCorruptFile, "{} holds an infinity or NaN, must be finite",
                 where("statistics.sample", i, s.sample.size() / heads()));
    c_.statistics = std::move(s);
  }

  Safetensors file_;
  std::string place_;
  Calibration c_;
};

}  // namespace

Calibration Calibration::load(const std::filesystem::path& path) { return Reader(path).read(); }

}  // namespace lowkey
