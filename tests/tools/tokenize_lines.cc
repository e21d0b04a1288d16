// tokenize_lines MODEL [--no-special]: reads texts on stdin, each a 32-bit little-endian length and its bytes, and
// writes the ids of each on a line, without bos. Exits 1 when a text does not come back from the ids of a BPE
// tokenizer. tokenize_lines
// --classes: writes L, N, S or O for every Unicode scalar value, ascending; --bert-classes: C (dropped), A (an accent),
// P (punctuation), H (a word by itself) or O, and its lower case. The other half of tools/compare_tokenizers.py.
#include <cstdint>
#include <cstdio>
#include <string>

#include "lowkey/error.h"
#include "model/tokenizer_loader.h"
#include "text/bert_class.h"
#include "text/char_class.h"
#include "text/normalize.h"

namespace {

bool read_text(std::string* text) {
  uint32_t size = 0;
  if (std::fread(&size, sizeof(size), 1, stdin) != 1) return false;
  text->resize(size);
  return std::fread(text->data(), 1, size, stdin) == size;
}

void write_classes() {
  for (char32_t symbol = 0; symbol < 0x110000; ++symbol)
    if (symbol < 0xD800 || symbol > 0xDFFF) std::putchar("LNSO"[static_cast<int>(lowkey::class_of(symbol))]);
}

void write_bert_classes() {
  using namespace lowkey;
  for (char32_t symbol = 0; symbol < 0x110000; ++symbol) {
    if (symbol >= 0xD800 && symbol <= 0xDFFF) continue;
    const char kind = is_bert_control(symbol)       ? 'C'
                      : is_bert_accent(symbol)      ? 'A'
                      : is_bert_punctuation(symbol) ? 'P'
                      : is_bert_chinese(symbol)     ? 'H'
                                                    : 'O';
    std::printf("%c %X\n", kind, static_cast<unsigned>(bert_lower(symbol)));
  }
}

// Whether a text is another by the time it is cut.
bool rewrites(const lowkey::SentencePieceRules& rules) {
  return !rules.byte_fallback || !rules.charsmap.empty() || rules.strip_spaces || rules.strip_right || rules.squeeze;
}

int tokenize(const char* model, bool special) {
  using namespace lowkey;
  const Tokenizer tokenizer = load_tokenizer(model);
  std::string text;
  for (int line = 1; read_text(&text); ++line) {
    const auto ids = tokenizer.encode(text, {.add_bos = false, .parse_special = special});
    for (int32_t id : ids) std::printf("%d ", id);
    std::putchar('\n');
    if (tokenizer.spec().nfc) text = lowkey::compose(text);
    const TokenizerSpec& spec = tokenizer.spec();
    const bool exact = !spec.add_prefix_space && !spec.wordpiece &&
                       !(spec.sentencepiece && (special || rewrites(*spec.sentencepiece)));
    if (exact && tokenizer.decode(ids, /*with_special=*/true) != text) {
      std::fprintf(stderr, "text %d does not come back\n", line);
      return 1;
    }
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) {
    std::fprintf(stderr, "usage: tokenize_lines MODEL [--no-special] | --classes | --bert-classes\n");
    return 2;
  }
  const std::string word = argv[1];
  if (word == "--classes" || word == "--bert-classes") {
    word == "--classes" ? write_classes() : write_bert_classes();
    return 0;
  }
  try {
    return tokenize(argv[1], argc == 2);
  } catch (const lowkey::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
