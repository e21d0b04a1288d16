#!/usr/bin/env python3
"""Compares lowkey's tokenizer with Hugging Face tokenizers on random Unicode strings.

  compare_tokenizers.py --binary build/tests/tokenize_lines TOKENIZER_JSON...    ids of 20,000 strings each
  compare_tokenizers.py --binary build/tests/tokenize_lines --classes            letter / number / space of all code points
  compare_tokenizers.py --binary build/tests/tokenize_lines --bert-classes       what BERT's rules make of all code points
  compare_tokenizers.py --binary build/tests/tokenize_lines VOCAB_TXT            a WordPiece vocabulary, a token a line
  compare_tokenizers.py --binary build/tests/tokenize_lines TOKENIZER_MODEL      by SentencePiece
  compare_tokenizers.py --as-qwen2 OUT.json TOKENIZER_JSON                       the same vocabulary, Qwen2's rules
  compare_tokenizers.py --as llama2 OUT.json TOKENIZER_MODEL                     a tokenizer.json with the rules of Llama-2,
                                                                                 gemma, mistral (Metaspace) or phi3; of a
                                                                                 unigram model: albert, t5 or llm-jp
  compare_tokenizers.py --as starcoder OUT.json TOKENIZER_JSON                   the same vocabulary, cut as by StarCoder,
                                                                                 deepseek-llm, deepseek-coder, deepseek-v3,
                                                                                 gpt-4o, tekken or bloom
  compare_tokenizers.py --fixture tests/data/tokenizer.json TOKENIZER_JSON       strings and ids for the C++ test

The strings mix control characters, emoji sequences, CJK, jamo, combining marks, digits of many scripts, runs of white
space, contractions in odd case, special tokens, unassigned code points and, for the way back only, invalid bytes.
Needs `pip install tokenizers sentencepiece protobuf`. Exit code 1 when anything differs.
"""
import argparse
import base64
import json
import random
import struct
import subprocess
import sys
import types
import unicodedata

import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizers import BertWordPieceTokenizer, Regex, Tokenizer, normalizers, pre_tokenizers

SCALARS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
SPACES = [chr(c) for c in (9, 10, 11, 12, 13, 32, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F,
                           0x205F, 0x3000)]
# Look like spaces and are none, or were once.
NEAR_SPACES = [chr(c) for c in (0x1C, 0x1D, 0x1E, 0x1F, 0x180E, 0x200B, 0x200C, 0x2060, 0xFEFF)]
NEWER_BLOCKS = [(0x1C89, 0x1C8B), (0xA7CB, 0xA7DD), (0x105C0, 0x10600), (0x10D40, 0x10D90), (0x11380, 0x113E3),
                (0x116D0, 0x116E4), (0x11BC0, 0x11BFA), (0x13460, 0x14400), (0x16100, 0x1613A), (0x16D40, 0x16D7A),
                (0x1CCF0, 0x1CCFA), (0x1E5D0, 0x1E5FB), (0x2EBF0, 0x2EE5E)]
WORDS = "the of and I'm don't naïve Straße HTTP getElementById x86_64 3.14159 foo_bar 'tis rock'n'roll e.g. C++20".split()
QWEN2 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")

# What cuts before ByteLevel: Split by a regular expression, or the digits one by one.
CASED = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]%s[\p{Ll}\p{Lm}\p{Lo}\p{M}]%s"
ENDING = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SUFFIX = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
CJK = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
SPLITS = {
    "starcoder": [None],
    "deepseek-llm": [r"[\r\n]", r"\s?[\p{Lu}\p{Ll}\p{Lt}]+", "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+",
                     r"\s+$", CJK, None],
    "deepseek-coder": [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", CJK, None],
    "deepseek-v3": [r"\p{N}{1,3}", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
                    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|"""
                    r"\s*[\r\n]+|\s+(?!\S)|\s+"],
    "gpt-4o": ["|".join((CASED % ("*", "+") + SUFFIX, CASED % ("+", "*") + SUFFIX, r"\p{N}{1,3}", ENDING))],
    "tekken": ["|".join((CASED % ("*", "+"), CASED % ("+", "*"), r"\p{N}", ENDING))],
    "bloom": [" ?[^(\\s|.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c)]+"],
}


def by_category(*categories):
    return [chr(c) for c in SCALARS if unicodedata.category(chr(c)) in categories]


class Strings:
    def __init__(self, seed, specials):
        self.random = random.Random(seed)
        self.specials = specials or ["<|end|>"]
        self.marks, self.numbers = by_category("Mn", "Mc", "Me"), by_category("Nd", "Nl", "No")
        self.punctuation, self.controls = by_category("Po", "Sm", "Sc", "Ps", "Pe"), by_category("Cc", "Cf")
        self.makers = [self.word, self.spaces, self.digits, self.contraction, self.emoji, self.cjk, self.jamo,
                       self.combining, self.control, self.anything, self.symbols, self.special, self.newer, self.ascii]

    def some(self, pool, most):
        return "".join(self.random.choices(pool, k=self.random.randint(1, most)))

    def word(self):
        return self.random.choice(["", " ", "  "]) + self.random.choice(WORDS)

    def spaces(self):
        return self.some(self.random.choice([SPACES, SPACES + NEAR_SPACES, [" "], [" ", "\n"], ["\r", "\n", "\t", " "]]), 6)

    def digits(self):
        return self.some(self.random.choice([list("0123456789"), self.numbers]), 7)

    def contraction(self):
        tail = self.random.choice(["s", "t", "re", "ve", "m", "ll", "d", "ſ", "n", "l", "r", "ﬆ", "sS", "K"])
        return self.random.choice(["'", "’", "''", " '"]) + "".join(self.random.choice([c, c.upper()]) for c in tail)

    def emoji(self):
        one = lambda: chr(self.random.choice([*range(0x1F300, 0x1F650), *range(0x1F900, 0x1FA00), *range(0x2600, 0x27C0)]))
        joined = "\u200d".join(one() + self.random.choice(["", "\ufe0f", chr(self.random.randint(0x1F3FB, 0x1F3FF))])
                               for _ in range(self.random.randint(1, 4)))
        flag = "".join(chr(self.random.randint(0x1F1E6, 0x1F1FF)) for _ in range(2))
        return self.random.choice([joined, flag, "1\ufe0f\u20e3"])

    def cjk(self):
        return "".join(chr(self.random.choice([self.random.randint(0x4E00, 0x9FFF), self.random.randint(0x3040, 0x30FF),
                                               self.random.randint(0x20000, 0x2A6DF), self.random.randint(0x2F800, 0x2FA1D),
                                               0x3002, 0xFF0C])) for _ in range(self.random.randint(1, 8)))

    def jamo(self):
        return "".join(chr(self.random.choice([self.random.randint(0x1100, 0x1112), self.random.randint(0x1161, 0x1175),
                                               self.random.randint(0x11A7, 0x11C2), self.random.randint(0xAC00, 0xD7A3)]))
                       for _ in range(self.random.randint(1, 5)))

    def combining(self):
        return self.random.choice("aeoAEOöクは가ब>ﷺK") + self.some(self.random.choice([self.marks, ["\u0301", "\u0323", "\u0338"]]), 5)

    def control(self):
        return self.some(self.controls, 3)

    def anything(self):
        return "".join(chr(c) for c in self.random.choices(SCALARS, k=self.random.randint(1, 4)))

    def symbols(self):
        return self.random.choice(["", " "]) + self.some(self.punctuation, 5) + self.random.choice(["", "\n", "\r\n", "\n \n"])

    def special(self):
        token = self.random.choice(self.specials)
        return self.random.choice([token, token, token[:-1], token[1:], token + token[0], " " + token + " "])

    def newer(self):
        return "".join(chr(self.random.randrange(*self.random.choice(NEWER_BLOCKS))) for _ in range(self.random.randint(1, 3)))

    def ascii(self):
        return self.some([chr(c) for c in range(128)], 12)

    def word_of_any_length(self):  # WordPiece takes those of up to 100 characters
        return "".join(self.random.choices("aeioustnrü", k=self.random.choice([20, 99, 100, 101, 102])))

    def accented(self):
        return "".join(self.random.choice("ÀÉÎõüñçŠžİıßẞǅΣςΆйЁ한글ﬁ") for _ in range(self.random.randint(1, 6)))

    def make(self, most_parts):
        return "".join(self.random.choice(self.makers)() for _ in range(self.random.randint(0, most_parts)))

    def damage(self, text):
        data = bytearray(text.encode())
        for _ in range(self.random.randint(1, 4)):
            at = self.random.randint(0, len(data))
            data[at:at + self.random.randint(0, 2)] = self.random.randbytes(self.random.randint(0, 3))
        return bytes(data)


class SentencePiece:
    """A tokenizer.model with the face of Hugging Face's class."""

    def __init__(self, path):
        self.processor = sentencepiece.SentencePieceProcessor(model_file=path)

    def encode(self, text, add_special_tokens=False):
        return types.SimpleNamespace(ids=self.processor.encode(text))

    def encode_batch(self, texts, add_special_tokens=False):
        return [self.encode(text) for text in texts]


def run_lowkey(binary, model, texts, special=True):
    data = b"".join(struct.pack("<I", len(text)) + text for text in texts)
    run = subprocess.run([binary, model] + ([] if special else ["--no-special"]), input=data, capture_output=True)
    if run.returncode:
        sys.exit(f"{model}: {run.stderr.decode().strip()}")
    return [[int(word) for word in line.split()] for line in run.stdout.decode().split("\n")[:-1]]


def load(path):
    """A tokenizer.json or a vocab.txt of BERT, and the strings to try it on: its maker and the special tokens in them."""
    if path.endswith(".model"):
        return SentencePiece(path), ["<s>", "</s>", "<unk>", "<0x41>"], False
    if path.endswith(".txt"):
        tokenizer = BertWordPieceTokenizer(path)
        return tokenizer, ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], True
    tokenizer = Tokenizer.from_file(path)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    document = json.load(open(path))
    return tokenizer, [token["content"] for token in document["added_tokens"]], document["model"]["type"] == "WordPiece"


def make_strings(seed, specials, wordpiece):
    strings = Strings(seed, specials)
    if wordpiece:
        strings.makers += [strings.word_of_any_length, strings.accented, strings.accented]
    return strings


def compare(binary, path, count, seed):
    tokenizer, specials, wordpiece = load(path)
    strings = make_strings(seed, specials, wordpiece)
    texts = [strings.make(12) for _ in range(count)]
    if path.endswith(".json") and tokenizer.normalizer:
        spelled = lambda text: any(tokenizer.normalizer.normalize_str(text).count(word) > text.count(word) for word in specials)
        kept = [text for text in texts if not spelled(text)]
        if len(kept) < len(texts):
            print(f"{path}: {len(texts) - len(kept)} strings left out, whose normal form spells a special token")
        texts = kept
    expected = [e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=False)]
    special = not path.endswith(".model")  # SentencePiece takes control tokens in a text for text
    actual = run_lowkey(binary, path, [text.encode() for text in texts], special)
    different = [i for i in range(len(texts)) if expected[i] != actual[i]]
    print(f"{path}: {len(texts)} strings, {sum(map(len, expected))} ids, {len(different)} different")
    for i in different[:5]:
        print(f"  {texts[i]!r}\n    expected {expected[i]}\n    actual   {actual[i]}")
    damaged = [strings.damage(text) for text in texts]
    run_lowkey(binary, path, damaged, special)
    print(f"{path}: {count} strings with invalid bytes, {'no crash' if wordpiece else 'all come back'}")
    return not different


def compare_classes(binary):
    actual = subprocess.run([binary, "--classes"], capture_output=True, check=True).stdout.decode()
    text, expected = "".join(map(chr, SCALARS)), ["O"] * len(SCALARS)
    for pattern, name in ((r"\p{L}+", "L"), (r"\p{N}+", "N"), (r"\s+", "S")):
        for _, (begin, end) in pre_tokenizers.Split(Regex(pattern), "removed", invert=True).pre_tokenize_str(text):
            expected[begin:end] = name * (end - begin)
    different = [i for i in range(len(SCALARS)) if expected[i] != actual[i]]
    print(f"{len(SCALARS)} code points, {len(different)} of another class")
    for i in different[:100]:
        print(f"  U+{SCALARS[i]:04X} expected {expected[i]} actual {actual[i]}")
    return not different


def compare_bert_classes(binary):
    """Dropped, accent, punctuation, word by itself, and lower case: each rule alone, on every code point in `a?b`."""
    rule = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    clean, apart, strip, lower = (normalizers.BertNormalizer(**(rule | {name: True})).normalize_str
                                  for name in ("clean_text", "handle_chinese_chars", "strip_accents", "lowercase"))
    cut = pre_tokenizers.BertPreTokenizer().pre_tokenize_str
    lines = subprocess.run([binary, "--bert-classes"], capture_output=True, check=True).stdout.decode().split("\n")
    different = 0
    for c, line in zip(SCALARS, lines):
        text = "a" + chr(c) + "b"
        kind = "C" if clean(text) == "ab" and c not in (0, 0xFFFD) else "A" if strip(text) == "ab" else \
            "P" if len(cut(text)) == 3 else "H" if " " in apart(text) and c != 32 else "O"
        kind = "C" if c == 0 else kind  # a control character that HF drops by name
        small = lower(text)[1:-1]
        expected = f"{kind} {ord(small) if len(small) == 1 else c:X}"
        if len(small) == 1 and expected != line:
            different += 1
            print(f"  U+{c:04X} expected {expected} actual {line}")
    print(f"{len(SCALARS)} code points, {different} of another kind or lower case for BERT")
    return not different


def write_as_qwen2(path, out):
    document = json.load(open(path))
    document["normalizer"] = {"type": "NFC"}
    document["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": QWEN2}, "behavior": "Isolated", "invert": False},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}]}
    json.dump(document, open(out, "w"))


def write_as_splits(kind, path, out):
    document = json.load(open(path))
    steps = [{"type": "Digits", "individual_digits": True} if regex is None else
             {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}
             for regex in SPLITS[kind]]
    steps.append({"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": kind == "starcoder"})
    document["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": steps}
    json.dump(document, open(out, "w"))


def write_as_sentencepiece(kind, path, out):
    """What Hugging Face's converters make of a tokenizer.model of BPE: a merge for each cut of a piece, ranked by score."""
    processor = sentencepiece.SentencePieceProcessor(model_file=path)
    pieces = [processor.id_to_piece(i) for i in range(processor.vocab_size())]
    ids = {piece: i for i, piece in enumerate(pieces)}
    merges = sorted((-processor.get_score(i), ids[piece[:cut]], ids[piece[cut:]])
                    for i, piece in enumerate(pieces) for cut in range(1, len(piece))
                    if not processor.is_control(i) and not processor.is_byte(i) and piece[:cut] in ids and piece[cut:] in ids)
    prepend, replace = {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    added = [{"id": i, "content": pieces[i], "special": True, "normalized": False, "lstrip": False, "rstrip": False,
              "single_word": False} for i in range(3)]
    if kind == "phi3":
        added += [{"id": len(pieces) + i, "content": word, "special": i < 2, "normalized": i == 2, "lstrip": i == 1,
                   "rstrip": i == 0, "single_word": i == 2} for i, word in enumerate(["<|end|>", "<|user|>", "zqz"])]
    document = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
        "normalizer": {"llama2": {"type": "Sequence", "normalizers": [prepend, replace]}, "gemma": replace, "mistral": None,
                       "phi3": {"type": "Sequence", "normalizers": [prepend, replace]}}[kind],
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}
        if kind == "mistral" else {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious",
                                   "invert": False} if kind == "gemma" else None,
        "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                                                     {"type": "ByteFallback"}, {"type": "Fuse"}]},
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False,
                  "vocab": ids, "merges": [[pieces[left], pieces[right]] for _, left, right in merges]}}
    json.dump(document, open(out, "w"))


def write_as_unigram(kind, path, out):
    """What Hugging Face's converters make of a tokenizer.model of the unigram kind."""
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(open(path, "rb").read())
    charsmap = base64.b64encode(model.normalizer_spec.precompiled_charsmap).decode()
    precompiled = [{"type": "Precompiled", "precompiled_charsmap": charsmap}] if charsmap else []
    strip = [{"type": "Strip", "strip_left": False, "strip_right": True},
             {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"}]
    mark = [{"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    normalizer, cutter = {
        "albert": (precompiled + strip, metaspace),
        "t5": (precompiled, {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace]}),
        "llm-jp": (precompiled + mark, None)}[kind]
    document = {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": i, "content": piece.piece, "special": piece.type != 4, "normalized": False,
                          "lstrip": False, "rstrip": False, "single_word": False}
                         for i, piece in enumerate(model.pieces) if piece.type in (2, 3, 4)],
        "normalizer": {"type": "Sequence", "normalizers": normalizer}, "pre_tokenizer": cutter, "post_processor": None,
        "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        "model": {"type": "Unigram", "unk_id": model.trainer_spec.unk_id,
                  "byte_fallback": model.trainer_spec.byte_fallback,
                  "vocab": [[piece.piece, piece.score] for piece in model.pieces]}}
    json.dump(document, open(out, "w"))


def write_fixture(path, out, seed):
    tokenizer, specials, wordpiece = load(path)
    strings = make_strings(seed, specials, wordpiece)
    texts = [strings.make(4) for _ in range(600 if wordpiece else 2000)]
    lines = [json.dumps([text, tokenizer.encode(text, add_special_tokens=False).ids], ensure_ascii=False,
                        separators=(",", ":")) for text in texts]
    open(out, "w").write("[\n" + ",\n".join(lines) + "\n]\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokenizers", nargs="*", metavar="TOKENIZER_JSON")
    parser.add_argument("--binary", help="the program tokenize_lines")
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--classes", action="store_true")
    parser.add_argument("--bert-classes", action="store_true")
    parser.add_argument("--as-qwen2", metavar="OUT")
    parser.add_argument("--as", dest="kind", nargs=2, metavar=("KIND", "OUT"))
    parser.add_argument("--fixture", metavar="OUT")
    args = parser.parse_args()
    if args.as_qwen2:
        return write_as_qwen2(args.tokenizers[0], args.as_qwen2)
    if args.kind:
        unigram = args.kind[0] in ("albert", "t5", "llm-jp")
        write = write_as_splits if args.kind[0] in SPLITS else write_as_unigram if unigram else write_as_sentencepiece
        return write(args.kind[0], args.tokenizers[0], args.kind[1])
    if args.fixture:
        return write_fixture(args.tokenizers[0], args.fixture, args.seed)
    good = compare_classes(args.binary) if args.classes else True
    good = (compare_bert_classes(args.binary) if args.bert_classes else True) and good
    for path in args.tokenizers:
        good = compare(args.binary, path, args.count, args.seed) and good
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
