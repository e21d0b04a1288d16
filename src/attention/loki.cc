#include "attention/loki.h"

#include <charconv>
#include <cmath>

#include "attention/loki_paper.h"
#include "attention/spec.h"
#include "base/error.h"
#include "ops/index_append.h"
#include "ops/ref/index_code.h"
#include "ops/score_index.h"

namespace lowkey {
namespace {

constexpr int kPlane = 0;
// Sequences shorter than this are read whole unless the spec says otherwise: ranking would cost more than it saves.
constexpr int64_t kMinTokens = 2048;

// "pq:128", "bits:64", "sign", "int8", "int4".
void read_codes(const Settings& settings, IndexSpec& index) {
  constexpr std::string_view kRule = "pq:N or bits:N (N bits a key, a multiple of 4), sign, int8 or int4";
  const std::string text = settings.text("index");
  const size_t colon = text.find(':');
  const std::string word = text.substr(0, colon);
  constexpr std::pair<std::string_view, IndexCodes> kWords[] = {{"pq", IndexCodes::kPq},
                                                                {"bits", IndexCodes::kBits},
                                                                {"sign", IndexCodes::kSign},
                                                                {"int8", IndexCodes::kInt8},
                                                                {"int4", IndexCodes::kInt4}};
  const auto* found =
      std::find_if(std::begin(kWords), std::end(kWords), [&](const auto& w) { return w.first == word; });
  if (found == std::end(kWords)) settings.refuse("index", kRule);
  index.codes = found->second;
  const bool counts_bits = index.codes == IndexCodes::kPq || index.codes == IndexCodes::kBits;
  if (colon == std::string::npos) return;
  const char *begin = text.data() + colon + 1, *end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(begin, end, index.bits);
  if (!counts_bits || error != std::errc() || stop != end || index.bits < 4 || index.bits > 1024 || index.bits % 4 != 0)
    settings.refuse("index", kRule);
}

// "pca" is that of keys before or after RoPE. Without a word for either: what ranks best with so many bits.
BasisKind read_basis(const Settings& settings, const IndexSpec& index, int head_dim) {
  const std::string basis = settings.choice("basis", {"auto", "pca", "balanced", "weighted", "content"});
  const bool pre = settings.choice("rope", {"post", "pre"}) == "pre";
  if (settings.has("rope") && basis != "auto" && basis != "pca")
    settings.refuse("rope", "left out with this basis: pca has two sides");
  if (basis == "balanced") return BasisKind::kBalanced;
  if (basis == "weighted") return BasisKind::kWeighted;
  if (basis == "content") return BasisKind::kContent;
  const bool counts_bits = index.codes == IndexCodes::kPq || index.codes == IndexCodes::kBits;
  if (basis == "auto" && !settings.has("rope") && counts_bits) return best_basis(index.bits, head_dim);
  return pre ? BasisKind::kPre : BasisKind::kPost;
}

IndexSpec read_index(const Settings& settings, const MethodInputs& inputs) {
  const int head_dim = inputs.shape.head_dim;
  IndexSpec index;
  index.bits = head_dim;
  index.dims = static_cast<int>(settings.integer("d", 0, 1, head_dim));
  if (settings.has("index")) read_codes(settings, index);
  const bool counts_bits = index.codes == IndexCodes::kPq || index.codes == IndexCodes::kBits;
  if (counts_bits && settings.has("d")) settings.refuse("d", "left out with pq and bits, which use what ranks best");
  index.basis = read_basis(settings, index, head_dim);
  const bool fitted = inputs.calibration->find_codebooks(index.basis, index.bits) != nullptr;
  if (!settings.has("index") && !fitted) index.codes = IndexCodes::kBits;
  return index;
}

}  // namespace

std::unique_ptr<Method> Loki::make(const AttentionSpec& spec, const MethodInputs& inputs) {
  const Settings settings(spec);
  LK_REQUIRE(inputs.calibration != nullptr, kInvalidArgument,
             "[loki] needs a calibration of the model: lowkey calibrate makes one");
  if (settings.choice("form", {"own", "paper"}) == "paper") return LokiPaper::make(spec, inputs);
  SelectiveOptions defaults;
  defaults.min_tokens = kMinTokens;
  return std::make_unique<Loki>(read_selective_options(settings, defaults), inputs, read_index(settings, inputs));
}

Loki::Loki(const SelectiveOptions& options, const MethodInputs& inputs, const IndexSpec& index)
    : Selective(options), nibbles_(index_nibbles(index, inputs.shape.head_dim)) {
  for (int layer = 0; layer < inputs.shape.layers; ++layer)
    layers_.emplace_back(*inputs.calibration, layer, index, inputs.shape.rope_layout);
}

std::vector<int64_t> Loki::planes(const AttentionShape&, DType, int page_tokens) const {
  LK_REQUIRE(page_tokens % kIndexTileTokens == 0, kInvalidArgument,
             "[loki] pages of {} tokens, must be a multiple of {}", page_tokens, kIndexTileTokens);
  return {KeyIndex::page_bytes(nibbles_, page_tokens)};
}

void Loki::append(const LayerStep& step, const Qkv& qkv) const {
  Method::append(step, qkv);
  append_codes(step, qkv.k);
}

void Loki::append_codes(const LayerStep& step, View k) const {
  const KeyIndex index = layers_[static_cast<size_t>(step.layer)].index();
  int64_t row = 0;
  for (size_t b = 0; b < step.kv.size(); ++b) {
    index_append(step.context,
                 {.index = index, .k = rows_of(k, row, step.counts[b]), .kv = step.kv[b], .plane = kPlane});
    row += step.counts[b];
  }
}

void Loki::move_row(const LayerStep& step, const KvPages& kv, int head, int64_t from, int64_t to) const {
  Method::move_row(step, kv, head, from, to);
  for (int n = 0; n < nibbles_; ++n)
    ref::index_code(kv, kPlane, head, nibbles_, to, n).set(ref::index_code(kv, kPlane, head, nibbles_, from, n).get());
}

void Loki::score(const LayerStep& step, std::span<const KvPages> rows, View q, View keys, View /*scores*/) const {
  score_index(step.context, {.index = layers_[static_cast<size_t>(step.layer)].index(),
                             .q = q,
                             .kv = rows,
                             .plane = kPlane,
                             .scale = step.shape.scale(),
                             .keys = keys});
}

int64_t Loki::score_bytes(const LayerStep&, int64_t length) const noexcept {
  return (length + kIndexTileTokens - 1) / kIndexTileTokens * KeyIndex::page_bytes(nibbles_, kIndexTileTokens);
}

}  // namespace lowkey
