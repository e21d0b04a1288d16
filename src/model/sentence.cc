#include "model/sentence.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "base/printable.h"
#include "model/checkpoint.h"
#include "model/config_fields.h"

namespace lowkey {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMostBytes = int64_t{1} << 20;

ConfigFields read_fields(const fs::path& path) { return {read_text(path, kMostBytes), path.string()}; }

bool is_there(const fs::path& path) {
  std::error_code failed;
  return fs::exists(path, failed);
}

void require_mode(const std::string& mode, const ConfigFields& fields, Pool* pool) {
  LK_REQUIRE(mode == "mean" || mode == "cls", kUnsupported, "[config] {}: pooling '{}', must be mean or cls",
             fields.source(), printable(mode));
  *pool = mode == "cls" ? Pool::kCls : Pool::kMean;
}

// One word, or a flag for each way of pooling, of which one may be set.
Pool read_pool(const ConfigFields& fields) {
  Pool pool = Pool::kMean;
  if (fields.find("pooling_mode") != nullptr) {
    require_mode(fields.word("pooling_mode"), fields, &pool);
    return pool;
  }
  constexpr std::pair<const char*, const char*> kModes[] = {
      {"pooling_mode_mean_tokens", "mean"},
      {"pooling_mode_cls_token", "cls"},
      {"pooling_mode_max_tokens", "max"},
      {"pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len"},
      {"pooling_mode_weightedmean_tokens", "weightedmean"},
      {"pooling_mode_lasttoken", "lasttoken"},
  };
  std::string mode;
  for (const auto& [key, word] : kModes)
    if (fields.flag(key)) mode += (mode.empty() ? "" : "+") + std::string(word);
  require_mode(mode, fields, &pool);
  return pool;
}

// {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"}: its last word, and its folder.
struct Module {
  std::string type;
  fs::path folder;
};

std::vector<Module> read_modules(const fs::path& path) {
  const nlohmann::json list = parse_json(read_text(path, kMostBytes), "[config] " + path.string());
  LK_REQUIRE(list.is_array(), kCorruptFile, "[config] {}: the file is a {}, must be an array", path.string(),
             list.type_name());
  std::vector<Module> modules;
  for (const auto& entry : list) {
    const ConfigFields fields(entry.dump(), path.string());
    const std::string type = fields.word("type"), folder = fields.word("path");
    LK_REQUIRE(folder.find_first_of("/\\") == folder.npos && folder != "..", kCorruptFile,
               "[config] {}: path '{}', must be a folder beside it", path.string(), printable(folder));
    modules.push_back({type.substr(type.rfind('.') + 1), path.parent_path() / folder});
  }
  return modules;
}

}  // namespace

std::string_view name(Pool pool) noexcept { return pool == Pool::kCls ? "cls" : "mean"; }

SentenceRules read_sentence_rules(const fs::path& folder) {
  SentenceRules rules;
  const fs::path list = folder / "modules.json";
  if (!is_there(list)) return rules;
  for (const Module& module : read_modules(list)) {
    if (module.type == "Transformer") {
      const fs::path file = module.folder / "sentence_bert_config.json";
      if (!is_there(file)) continue;
      const ConfigFields fields = read_fields(file);
      LK_REQUIRE(!fields.flag("do_lower_case"), kUnsupported, "[config] {}: do_lower_case is true, must be false",
                 fields.source());
      rules.max_tokens = fields.integer("max_seq_length", 0);
      LK_REQUIRE(rules.max_tokens >= 0, kCorruptFile, "[config] {}: max_seq_length={}, must be >= 0", fields.source(),
                 rules.max_tokens);
    } else if (module.type == "Pooling") {
      rules.pool = read_pool(read_fields(module.folder / "config.json"));
    } else {
      LK_REQUIRE(module.type == "Normalize", kUnsupported,
                 "[config] {}: type '{}', must be Transformer, Pooling or Normalize", list.string(),
                 printable(module.type));
      rules.normalise = true;
    }
  }
  return rules;
}

void pool(const TextBatch& batch, View hidden, const SentenceRules& rules, View out) {
  const int64_t width = hidden.columns(), texts = std::ssize(batch.counts);
  LK_REQUIRE(hidden.dtype == DType::kF32 && hidden.rows() == std::ssize(batch.tokens) && out.dtype == DType::kF32 &&
                 out.rows() == texts && out.columns() == width,
             kInvalidArgument, "[pool] hidden {} and out {}, must be f32 [{}, C] and [{}, C]", hidden.describe(),
             out.describe(), batch.tokens.size(), texts);
  std::vector<double> sum(static_cast<size_t>(width));
  int64_t row = 0;
  for (int64_t b = 0; b < texts; ++b) {
    const int64_t count = batch.counts[static_cast<size_t>(b)], read = rules.pool == Pool::kCls ? 1 : count;
    std::fill(sum.begin(), sum.end(), 0.);
    for (int64_t t = 0; t < read; ++t)
      for (int64_t c = 0; c < width; ++c) sum[static_cast<size_t>(c)] += hidden.f32_row(row + t)[c];
    double squares = 0;
    for (double& s : sum) s /= static_cast<double>(read), squares += s * s;
    const double scale = rules.normalise ? 1 / std::max(std::sqrt(squares), 1e-12) : 1;
    for (int64_t c = 0; c < width; ++c) out.f32_row(b)[c] = static_cast<float>(sum[static_cast<size_t>(c)] * scale);
    row += count;
  }
}

}  // namespace lowkey
