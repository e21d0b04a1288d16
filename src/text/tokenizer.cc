#include "text/tokenizer.h"

#include <algorithm>
#include <unordered_map>

#include "base/error.h"
#include "base/printable.h"
#include "text/bert_normalizer.h"
#include "text/bpe.h"
#include "text/byte_alphabet.h"
#include "text/normalize.h"
#include "text/pretokenizer.h"
#include "text/sentencepiece.h"
#include "text/special_tokens.h"
#include "text/wordpiece.h"

namespace lowkey {
namespace {

using IdByText = std::unordered_map<std::string_view, int32_t>;

// By the text in the byte alphabet, as the merges name them. Of equal texts the lowest id; holes have no text.
IdByText index_tokens(const std::vector<std::string>& tokens) {
  IdByText ids;
  ids.reserve(tokens.size());
  for (size_t id = 0; id < tokens.size(); ++id)
    if (!tokens[id].empty()) ids.emplace(tokens[id], static_cast<int32_t>(id));
  return ids;
}

// Some vocabularies have no token for bytes that UTF-8 never or hardly has: these are -1, and lost in a text.
std::array<int32_t, 256> find_bytes(const IdByText& ids, const std::string& source) {
  std::array<int32_t, 256> byte_ids{};
  for (int byte = 0; byte < 256; ++byte) {
    const auto found = ids.find(to_byte_alphabet(std::string(1, static_cast<char>(byte))));
    const bool spare = byte == 0xC0 || byte == 0xC1 || byte >= 0xF1;
    LK_REQUIRE(found != ids.end() || spare, kInvalidArgument,
               "[tokenizer] {}: no token for byte 0x{:02X}, must have one", source, byte);
    byte_ids[byte] = found == ids.end() ? -1 : found->second;
  }
  return byte_ids;
}

std::vector<Bpe::Merge> resolve_merges(const TokenizerSpec& spec, const IdByText& ids) {
  std::vector<Bpe::Merge> merges;
  merges.reserve(spec.merges.size());
  std::string joined;
  for (size_t i = 0; i < spec.merges.size(); ++i) {
    std::string_view merge = spec.merges[i];
    size_t space = merge.find(' ');
    LK_REQUIRE(space != merge.npos && merge.find(' ', space + 1) == merge.npos, kInvalidArgument,
               "[tokenizer] {}: merges[{}]=\"{}\", must be two tokens with one space between", spec.source, i,
               printable(merge));
    std::string_view left = merge.substr(0, space), right = merge.substr(space + 1);
    joined.assign(left).append(right);
    auto id_of = [&](std::string_view token) {
      auto found = ids.find(token);
      LK_REQUIRE(found != ids.end(), kInvalidArgument,
                 "[tokenizer] {}: merges[{}]=\"{}\", \"{}\" must be in the vocabulary", spec.source, i,
                 printable(merge), printable(token));
      return found->second;
    };
    merges.push_back({id_of(left), id_of(right), id_of(joined), static_cast<uint32_t>(i)});
  }
  return merges;
}

void require_ids(const TokenizerSpec& spec, const char* field, const std::vector<int32_t>& ids) {
  for (int32_t id : ids)
    LK_REQUIRE(id >= 0 && id < std::ssize(spec.tokens), kInvalidArgument, "[tokenizer] {}: {}={}, must be 0 <= id < {}",
               spec.source, field, id, spec.tokens.size());
}

std::vector<bool> mark(const std::vector<int32_t>& ids, size_t size) {
  std::vector<bool> marks(size);
  for (int32_t id : ids) marks[id] = true;
  return marks;
}

}  // namespace

struct Tokenizer::Impl {
  explicit Impl(TokenizerSpec);
  void check_ids() const;

  // The parts of an encode() call that go along from piece to piece.
  struct Encoding {
    EncodeOptions options;
    std::string_view whole;            // the text given
    bool first = false;                // what is normalised now begins it
    const char* normalized = nullptr;  // where that begins once normalised
    SentencePiece::Scratch scratch;
    std::vector<int32_t> ids;
  };
  using Step = void (Impl::*)(std::string_view, Encoding*) const;
  void split_by(const SpecialTokens&, std::string_view text, bool early, Step rest, Encoding*) const;
  void split_late(std::string_view text, Step rest, Encoding*) const;
  void encode_normalized(std::string_view text, Encoding*) const;
  void encode_ordinary(std::string_view text, Encoding*) const;
  void encode_pieces(std::string_view text, Encoding*) const;
  void encode_piece(std::string_view piece, Encoding*) const;
  void encode_words(std::string_view text, Encoding* to) const { wordpiece->encode(text, &to->ids); }
  void encode_sentence(std::string_view text, Encoding*) const;
  enum class When { kEarly, kLate, kTemplate };
  SpecialTokens matcher(When) const;
  std::string decoded(const std::string& token, bool added_token) const;

  TokenizerSpec spec;
  std::vector<bool> special, added, guarded, late, ends;  // [V]
  std::vector<std::string> bytes;                         // [V] what each id decodes to
  SpecialTokens early_tokens{{}}, late_tokens{{}};
  SpecialTokens template_tokens{{}};  // early ones and all control tokens: where a text has parts of strangers
  IdByText whole_pieces;              // into `bytes`; filled if spec.ignore_merges
  Splitter splitter;
  Bpe bpe;
  std::optional<WordPiece> wordpiece;  // instead of bpe, as is the next
  std::optional<SentencePiece> sentencepiece;
};

void Tokenizer::Impl::check_ids() const {
  LK_REQUIRE(spec.tokens.size() < INT32_MAX, kInvalidArgument, "[tokenizer] {}: {} tokens, must be < 2^31", spec.source,
             spec.tokens.size());
  require_ids(spec, "special", spec.special);
  require_ids(spec, "added", spec.added);
  require_ids(spec, "guarded", spec.guarded);
  require_ids(spec, "late", spec.late);
  require_ids(spec, "takes_left", spec.takes_left);
  require_ids(spec, "takes_right", spec.takes_right);
  require_ids(spec, "whole_words", spec.whole_words);
  require_ids(spec, "end_ids", spec.end_ids);
  if (spec.bos != -1) require_ids(spec, "bos", {spec.bos});
  if (spec.eos != -1) require_ids(spec, "eos", {spec.eos});
  LK_REQUIRE(!spec.add_bos || spec.bos != -1, kInvalidArgument, "[tokenizer] {}: add_bos without bos, must have one",
             spec.source);
  LK_REQUIRE(!spec.add_eos || spec.eos != -1, kInvalidArgument, "[tokenizer] {}: add_eos without eos, must have one",
             spec.source);
}

Tokenizer::Impl::Impl(TokenizerSpec s) : spec(std::move(s)) {
  check_ids();
  splitter = Splitter(spec.splits);
  const size_t size = spec.tokens.size();
  special = mark(spec.special, size);
  added = mark(spec.added, size);
  guarded = mark(spec.guarded, size);
  late = mark(spec.late, size);
  ends = mark(spec.end_ids, size);
  if (spec.wordpiece) {
    wordpiece.emplace(spec.tokens, *spec.wordpiece, spec.source);
  } else {
    const IdByText ids = index_tokens(spec.tokens);
    std::vector<Bpe::Merge> merges = resolve_merges(spec, ids);
    if (spec.sentencepiece) {
      sentencepiece.emplace(spec, std::move(merges));
    } else {
      bpe = Bpe(find_bytes(ids, spec.source), merges);
    }
  }

  bytes.reserve(size);
  for (size_t id = 0; id < size; ++id)
    bytes.push_back(special[id] ? spec.tokens[id] : decoded(spec.tokens[id], added[id]));
  early_tokens = matcher(When::kEarly);
  late_tokens = matcher(When::kLate);
  template_tokens = matcher(When::kTemplate);
  if (!spec.ignore_merges) return;
  whole_pieces.reserve(size);
  // Not the special ones: their text comes from strangers too.
  for (size_t id = 0; id < size; ++id)
    if (!special[id] && !guarded[id] && !bytes[id].empty()) whole_pieces.emplace(bytes[id], static_cast<int32_t>(id));
}

// What a token that is not special decodes to.
std::string Tokenizer::Impl::decoded(const std::string& token, bool added_token) const {
  if (sentencepiece) return sentencepiece->decoded(token);
  if (added_token) return token;
  if (!wordpiece) return from_byte_alphabet(token).value_or(token);
  const std::string& prefix = spec.wordpiece->prefix;
  return token.starts_with(prefix) ? token.substr(prefix.size()) : " " + token;
}

SpecialTokens Tokenizer::Impl::matcher(When when) const {
  const size_t size = bytes.size();
  const auto left = mark(spec.takes_left, size), right = mark(spec.takes_right, size);
  const auto whole_word = mark(spec.whole_words, size);
  std::vector<SpecialTokens::Entry> entries;
  for (size_t id = 0; id < size; ++id) {
    if (!special[id] && !added[id]) continue;
    const bool control = special[id] || guarded[id];
    const bool wanted = when == When::kLate ? late[id] : !late[id] || (when == When::kTemplate && control);
    if (!wanted) continue;
    std::string text = spec.tokens[id];
    if (when == When::kLate) {  // as the text is by the time they are looked for
      if (wordpiece) text = bert_normalize(text, *spec.wordpiece);
      if (sentencepiece && !spec.sentencepiece->late_as_written) text = sentencepiece->normalize(text, true);
    }
    entries.push_back({std::move(text), static_cast<int32_t>(id), control, left[id], right[id], whole_word[id]});
  }
  return SpecialTokens(std::move(entries));
}

void Tokenizer::Impl::split_by(const SpecialTokens& tokens, std::string_view text, bool early, Step rest,
                               Encoding* to) const {
  SpecialTokens::Allowed allowed{.control = to->options.parse_special};
  if (early) allowed.never = to->options.strangers;
  if (!early && !to->options.strangers.empty()) allowed.control = false;  // were all matched before
  for (size_t at = 0; at < text.size();) {
    SpecialTokens::Match match = tokens.find(text, at, allowed);
    size_t end = match.id < 0 ? text.size() : match.begin;
    if (end > at) (this->*rest)(text.substr(at, end - at), to);
    if (match.id >= 0) to->ids.push_back(match.id);
    at = match.id < 0 ? end : match.end;
  }
}

void Tokenizer::Impl::split_late(std::string_view text, Step rest, Encoding* to) const {
  to->normalized = text.data();
  split_by(late_tokens, text, false, rest, to);
}

void Tokenizer::Impl::encode_normalized(std::string_view text, Encoding* to) const {
  to->first = text.data() == to->whole.data();
  if (wordpiece) return split_late(bert_normalize(text, *spec.wordpiece), &Impl::encode_words, to);
  if (sentencepiece) return split_late(sentencepiece->normalize(text, to->first), &Impl::encode_sentence, to);
  if (!spec.nfc || is_ascii(text)) return split_late(text, &Impl::encode_ordinary, to);
  split_late(compose(text), &Impl::encode_ordinary, to);
}

void Tokenizer::Impl::encode_sentence(std::string_view text, Encoding* to) const {
  if (!spec.sentencepiece->late) return sentencepiece->encode(text, &to->scratch, &to->ids);
  const bool first = to->first && text.data() == to->normalized;
  sentencepiece->encode(sentencepiece->prepare(text, first), &to->scratch, &to->ids);
}

void Tokenizer::Impl::encode_ordinary(std::string_view text, Encoding* to) const {
  if (!spec.add_prefix_space || text.front() == ' ') return encode_pieces(text, to);
  encode_pieces(std::string(1, ' ').append(text), to);
}

void Tokenizer::Impl::encode_pieces(std::string_view text, Encoding* to) const {
  if (spec.pretokenizer == Pretokenizer::kSplits) {
    for (std::string_view piece : splitter.cut(text)) encode_piece(piece, to);
    return;
  }
  for (size_t at = 0, end; at < text.size(); at = end) {
    end = piece_end(spec.pretokenizer, text, at);
    encode_piece(text.substr(at, end - at), to);
  }
}

void Tokenizer::Impl::encode_piece(std::string_view piece, Encoding* to) const {
  const auto whole = whole_pieces.find(piece);
  if (whole != whole_pieces.end()) {
    to->ids.push_back(whole->second);
  } else {
    bpe.encode(piece, &to->scratch.bpe, &to->ids);
  }
}

Tokenizer::Tokenizer(TokenizerSpec spec) : impl_(std::make_unique<const Impl>(std::move(spec))) {}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

std::vector<int32_t> Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  LK_REQUIRE(text.size() < INT32_MAX, kInvalidArgument, "[tokenizer] text of {} bytes, must be < 2^31", text.size());
  Impl::Encoding encoding{.options = options, .whole = text, .scratch = {}, .ids = {}};
  if (options.add_bos && impl_->spec.add_bos) encoding.ids.push_back(impl_->spec.bos);
  const SpecialTokens& tokens = options.strangers.empty() ? impl_->early_tokens : impl_->template_tokens;
  impl_->split_by(tokens, text, true, &Impl::encode_normalized, &encoding);
  if (options.add_bos && impl_->spec.add_eos) encoding.ids.push_back(impl_->spec.eos);
  return std::move(encoding.ids);
}

std::string_view Tokenizer::piece(int32_t id, bool with_special) const {
  LK_REQUIRE(id >= 0 && id < vocabulary_size(), kInvalidArgument, "[tokenizer] id={}, must be 0 <= id < {}", id,
             vocabulary_size());
  if (impl_->special[id] && !with_special) return {};
  return impl_->bytes[id];
}

std::string Tokenizer::decode(const std::vector<int32_t>& ids, bool with_special) const {
  std::string text;
  for (int32_t id : ids) text += piece(id, with_special);
  const auto& rules = impl_->spec.sentencepiece;
  if (rules && rules->prefix != SentencePieceRules::Prefix::kNever && text.starts_with(' ')) text.erase(0, 1);
  return text;
}

int Tokenizer::vocabulary_size() const noexcept { return static_cast<int>(impl_->bytes.size()); }
const TokenizerSpec& Tokenizer::spec() const noexcept { return impl_->spec; }
bool Tokenizer::ends_generation(int32_t id) const noexcept {
  return id >= 0 && id < vocabulary_size() && impl_->ends[id];
}

}  // namespace lowkey
