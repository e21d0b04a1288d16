// Calibration to a safetensors file.
#include <deque>
#include <nlohmann/json.hpp>

#include "attention/calibration_names.h"
#include "base/error.h"
#include "formats/safetensors_writer.h"

namespace lowkey {
namespace {

class Writer {
 public:
  explicit Writer(const Calibration& c) : c_(c) {}

  SafetensorsContent content() {
    const int64_t dims = c_.head_dim;
    metadata();
    add("mean", c_.mean, {dims});
    for (BasisKind kind : kBasisKinds) basis(kind);
    for (const Codebooks& books : c_.codebooks) codebooks(books);
    if (c_.statistics) statistics(*c_.statistics);
    return std::move(content_);
  }

 private:
  template <typename T>
  void add(const std::string& name, const std::vector<T>& values, std::initializer_list<int64_t> per_head) {
    View view(const_cast<T*>(values.data()), DType::kF32, {c_.layers, c_.kv_heads});
    if constexpr (std::is_same_v<T, int32_t>) view.dtype = DType::kI32;
    if constexpr (std::is_same_v<T, uint16_t>) view.dtype = DType::kF16;
    for (int64_t n : per_head) view.shape[static_cast<size_t>(view.rank++)] = n;
    LK_REQUIRE(view.elements() == static_cast<int64_t>(values.size()), kInternal, "[calibration] {} has {} numbers",
               name, values.size());
    content_.tensors[name] = view;
  }

  void add(const std::string& name, const std::vector<double>& values, std::initializer_list<int64_t> per_head) {
    add(name, rounded_.emplace_back(values.begin(), values.end()), per_head);
  }

  void metadata() {
    auto& m = content_.metadata;
    m["format"] = kCalibrationFormat;
    m["model"] = c_.model;
    m["layers"] = std::to_string(c_.layers);
    m["kv_heads"] = std::to_string(c_.kv_heads);
    m["head_dim"] = std::to_string(c_.head_dim);
    m["tokens"] = std::to_string(c_.tokens);
    m["context"] = std::to_string(c_.context);
    m["tool"] = c_.tool;
    nlohmann::json texts = nlohmann::json::array();
    for (const CalibrationText& t : c_.texts) texts.push_back({{"name", t.name}, {"bytes", t.bytes}, {"hash", t.hash}});
    m["texts"] = texts.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    if (!c_.profile) return;
    const nlohmann::json profile{{"layers", c_.profile->layers}, {"about", c_.profile->about}};
    m["profile"] = profile.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  }

  void basis(BasisKind kind) {
    const KeyBasis& b = c_.basis(kind);
    const int64_t dims = c_.head_dim;
    add(tensor_prefix(kind) + "key", b.key, {dims, dims});
    if (!is_orthogonal(kind)) add(tensor_prefix(kind) + "query", b.query, {dims, dims});
    add(tensor_prefix(kind) + "spectrum", b.spectrum, {dims});
    add(tensor_prefix(kind) + "variance", b.variance, {dims});
    add(tensor_prefix(kind) + "weight", b.weight, {dims});
    add(tensor_prefix(kind) + "ranks", b.ranks, {static_cast<int64_t>(kRankShares.size())});
  }

  void codebooks(const Codebooks& books) {
    const std::string p = tensor_prefix(books.basis, books.bits);
    add(p + "order", books.order, {c_.head_dim});
    add(p + "nibbles", books.nibbles, {books.bits / 4, 2});
    add(p + "entries", books.entries, {books.rows, kCalibrationEntries});
  }

  void statistics(const KeyStatistics& s) {
    const int64_t dims = c_.head_dim;
    content_.metadata["first_position"] = std::to_string(s.first);
    content_.metadata["end_position"] = std::to_string(s.end);
    content_.tensors["statistics.inverse_frequency"] = {
        const_cast<float*>(s.inverse_frequency.data()), DType::kF32, {std::ssize(s.inverse_frequency)}};
    add("statistics.pre_mean", s.pre_mean, {dims});
    add("statistics.post_mean", s.post_mean, {dims});
    add("statistics.pre_covariance", s.pre_covariance, {dims, dims});
    add("statistics.post_covariance", s.post_covariance, {dims, dims});
    add("statistics.query_moment", s.query_moment, {dims, dims});
    add("statistics.sample", s.sample, {s.sample_size, dims});
  }

  const Calibration& c_;
  SafetensorsContent content_;
  std::deque<std::vector<float>> rounded_;
};

}  // namespace

void Calibration::save(const std::filesystem::path& path) const { write_safetensors(path, Writer(*this).content()); }

}  // namespace lowkey
