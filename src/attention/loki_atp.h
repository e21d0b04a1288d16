// loki:...+atp:form=factor,...: Loki's index chooses the tokens, and only theirs are rebuilt from the factor. A token
// costs R numbers and its code, whatever is read of it.
//
// The codes are those of exact keys, written when a token comes. They lie by token and not by row: for the index a page
// holds as many times more tokens as a row of the cache stands for, so a token's code has its place for good, whatever
// row its z goes to.
#pragma once

#include <memory>

#include "attention/atp_factor.h"
#include "attention/loki.h"

namespace lowkey {

class LokiAtp final : public Method {
 public:
  // spec: of loki, its cache of atp. Throws kInvalidArgument when either is of another form.
  static std::unique_ptr<Method> make(const AttentionSpec&, const MethodInputs&);
  LokiAtp(std::unique_ptr<Loki>, std::unique_ptr<AtpFactor>);

  std::vector<int64_t> planes(const AttentionShape&, DType kv_type, int page_tokens) const override;
  int64_t kept(const StepEnd& end) const noexcept override { return factor_->kept(end); }
  bool steps_matter() const noexcept override { return false; }
  bool replays() const noexcept override { return false; }
  int64_t replayable(int64_t tokens) const noexcept override { return factor_->replayable(tokens); }
  bool rows_are_tokens() const noexcept override { return false; }
  void project(const LayerStep& step, View x, const Qkv& qkv) const override { factor_->project(step, x, qkv); }
  void append(const LayerStep&, const Qkv&) const override;
  Selection select(const LayerStep&, View q) const override;
  void attend(const LayerStep&, View q, const Selection&, View out) const override;

 private:
  LayerStep by_token(const LayerStep&) const;

  std::unique_ptr<Loki> loki_;
  std::unique_ptr<AtpFactor> factor_;
  int spread_;  // times more tokens in a page of the index
};

}  // namespace lowkey
