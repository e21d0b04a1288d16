#include "attention/loki_atp.h"

#include <bit>

#include "attention/spec.h"
#include "base/error.h"

namespace lowkey {

std::unique_ptr<Method> LokiAtp::make(const AttentionSpec& spec, const MethodInputs& inputs) {
  const auto form = [](const AttentionSpec& s, std::string_view fallback) {
    const auto found = s.settings.find("form");
    return found == s.settings.end() ? fallback : std::string_view(found->second);
  };
  LK_REQUIRE(spec.name == "loki" && form(spec, "own") == "own" && form(*spec.cache, "factor") == "factor",
             kInvalidArgument, "[attention] '{}': atp:form=factor can follow loki, and nothing else goes together",
             spec.text());
  auto loki = std::unique_ptr<Loki>(static_cast<Loki*>(Loki::make(spec, inputs).release()));
  auto factor = std::unique_ptr<AtpFactor>(static_cast<AtpFactor*>(Atp::make(*spec.cache, inputs).release()));
  return std::make_unique<LokiAtp>(std::move(loki), std::move(factor));
}

LokiAtp::LokiAtp(std::unique_ptr<Loki> loki, std::unique_ptr<AtpFactor> factor)
    : loki_(std::move(loki)),
      factor_(std::move(factor)),
      spread_(static_cast<int>(std::bit_ceil(static_cast<uint64_t>(factor_->tokens_per_row())))) {}

std::vector<int64_t> LokiAtp::planes(const AttentionShape& shape, DType type, int page_tokens) const {
  std::vector<int64_t> bytes = factor_->planes(shape, type, page_tokens);
  bytes.push_back(loki_->planes(shape, type, spread_ * page_tokens)[0]);
  return bytes;
}

// The step as the index sees it: a place for each token so far.
LayerStep LokiAtp::by_token(const LayerStep& step) const {
  auto* kv = step.frame.take<KvPages>(static_cast<int64_t>(step.kv.size()));
  size_t row = 0;
  for (size_t b = 0; b < step.kv.size(); ++b) {
    row += static_cast<size_t>(step.counts[b]);
    kv[b] = step.kv[b];
    kv[b].page_tokens *= spread_;
    kv[b].length = step.positions[row - 1] + int64_t{1};
    kv[b].planes[0] = step.kv[b].planes[AtpFactor::kPlanes];
  }
  LayerStep tokens = step;
  tokens.kv = {kv, step.kv.size()};
  return tokens;
}

void LokiAtp::append(const LayerStep& step, const Qkv& qkv) const {
  factor_->append(step, qkv);
  loki_->append_codes(by_token(step), qkv.k);
}

Selection LokiAtp::select(const LayerStep& step, View q) const { return loki_->select(by_token(step), q); }

void LokiAtp::attend(const LayerStep& step, View q, const Selection& selection, View out) const {
  factor_->attend(step, q, selection, out);
}

}  // namespace lowkey
