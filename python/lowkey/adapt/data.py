"""Training data: token windows of a text, with codes hidden in some; labelled sentences in batches of one length."""
import bz2
import pathlib
import random
import sys

import numpy as np
import torch
from tokenizers import Tokenizer

# Of the codes that src/lab/needle.h hides and asks for, token for token.
NOUNS = (
    "harbour lantern violin cathedral orchard compass merchant glacier falcon cellar bridge garden engine mirror "
    "kettle saddle anchor chapel forest ledger candle museum tunnel meadow castle printer wagon theatre harvest "
    "island pepper copper marble velvet thunder willow canyon basket dragon needle pilot river summit temple"
).split()


def open_tokenizer(folder):
    file = pathlib.Path(folder) / "tokenizer.json"
    if not file.is_file():
        raise ValueError(f"{folder}: no tokenizer.json in it")
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # the library has no type of its own
        raise ValueError(f"{file}: {error}") from None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def text_ids(file, tokenizer, config):
    """All tokens of a text (.npy: they are there already; .bz2: packed). Documents, divided by NUL bytes, are put
    between bos and eos."""
    file = pathlib.Path(file)
    if file.suffix == ".npy":
        return np.load(file, mmap_mode="r")
    try:
        raw = bz2.decompress(file.read_bytes()) if file.suffix == ".bz2" else file.read_bytes()
    except (OSError, ValueError) as error:
        raise ValueError(f"{file}: cannot be read: {error}") from None
    ids, begin, end = [], _first(config.get("bos_token_id")), _first(config.get("eos_token_id"))
    documents = [d for d in raw.decode("utf-8", errors="replace").split("\0") if d.strip()]
    for i in range(0, len(documents), 64):
        for encoded in tokenizer.encode_batch(documents[i : i + 64], add_special_tokens=False):
            ids.append(np.array(begin + encoded.ids + end, dtype=np.int32))
    if not ids:
        raise ValueError(f"{file}: no text in it")
    ids = np.concatenate(ids)
    print(f"{file}: {len(ids)} tokens", file=sys.stderr)
    return ids


def _first(token):
    """A config's token id as a list: none, or the first of several."""
    if token is None:
        return []
    return [token[0] if isinstance(token, list) else token]


class Windows:
    """Random windows of a text; `codes` of them hide codes and ask for them later, so that finding is not unlearned."""

    def __init__(self, ids, tokenizer, length, codes):
        if len(ids) < length + 2:
            raise ValueError(f"the text has {len(ids)} tokens, must have more than --length {length}")
        self.ids, self.tokenizer, self.length, self.codes = ids, tokenizer, length, codes

    def batch(self, count, seed):
        """[count, length + 1], the same for the same seed."""
        rng = random.Random(seed)
        rows = []
        for _ in range(count):
            start = rng.randint(0, len(self.ids) - self.length - 2)
            row = np.array(self.ids[start : start + self.length + 1], dtype=np.int64)
            rows.append(self._with_codes(row, rng) if rng.random() < self.codes else row)
        return torch.from_numpy(np.stack(rows))

    def _encode(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def _with_codes(self, row, rng):
        """Overwrites places of the row with codes, and later ones with questions for codes that stand before them."""
        slots = range(1, len(row) - 60, 48)
        count = min(rng.choice((2, 4, 8, 16)), len(slots) // 3)
        if count == 0:
            return row
        nouns, told = rng.sample(NOUNS, count), []
        codes = [str(rng.randint(100000, 999999)) for _ in nouns]
        for slot in sorted(rng.sample(slots, 3 * count)):
            left = count - len(told)
            if left and (not told or rng.random() < 0.5):
                j = len(told)
                told.append(j)
                ids = self._encode(f"\n\nRemember this: the secret code of the {nouns[j]} is {codes[j]}.\n\n")
            else:
                j = rng.choice(told)
                ids = self.question(nouns[j]) + self._encode(f" {codes[j]}") + self._encode(".\n\n")
            row[slot : slot + len(ids)] = ids[: len(row) - slot]
        return row

    def question(self, noun):
        return self._encode(
            f"\n\nQuestion: what is the secret code of the {noun}?\nAnswer: the secret code of the {noun} is"
        )

    def needle(self, seed):
        """[length + answer] tokens with one code in them that is asked for at the end, and the answer's length."""
        rng = random.Random(seed)
        noun, code = rng.choice(NOUNS), str(rng.randint(100000, 999999))
        answer = self._encode(f" {code}")
        tail = self.question(noun) + answer
        told = self._encode(f"\n\nRemember this: the secret code of the {noun} is {code}.\n\n")
        start = rng.randint(0, len(self.ids) - self.length - 1)
        row = np.array(self.ids[start : start + self.length], dtype=np.int64)
        row[-len(tail) :] = tail
        place = rng.randint(1, self.length - len(tail) - len(told) - 1)
        row[place : place + len(told)] = told
        return torch.from_numpy(row)[None], len(answer)


class Sentences:
    """Labelled sentences of a TSV file: sentence<TAB>label, or MRPC's label, two ids and two sentences."""

    def __init__(self, file, tokenizer, longest, labels=None):
        texts, words = read_tsv(file)
        self.labels = labels or sorted(set(words))
        unknown = set(words) - set(self.labels)
        if unknown:
            raise ValueError(f"{file}: label '{unknown.pop()}', must be one of {', '.join(self.labels)}")
        self.targets = np.array([self.labels.index(word) for word in words])
        parts = [tokenizer.encode_batch([text[i] for text in texts]) for i in range(len(texts[0]))]
        # Of a pair: [CLS] a [SEP] b [SEP], all tokens of the first type, as the engine reads a text with [SEP] in it.
        self.ids = [sum((e.ids[min(i, 1) :] for i, e in enumerate(pair)), []) for pair in zip(*parts, strict=True)]
        self.ids = [ids if len(ids) <= longest else ids[: longest - 1] + ids[-1:] for ids in self.ids]

    def __len__(self):
        return len(self.ids)

    def batches(self, count, seed=None):
        """Indices, each batch of sentences of one length; in a random order where there is a seed."""
        rng = random.Random(seed)
        order = list(range(len(self.ids)))
        if seed is not None:
            rng.shuffle(order)
        groups, found = {}, []
        for i in order:
            group = groups.setdefault(len(self.ids[i]), [])
            group.append(i)
            if len(group) == count:
                found.append(groups.pop(len(self.ids[i])))
        found += groups.values()
        if seed is not None:
            rng.shuffle(found)
        return found

    def take(self, indices):
        return torch.tensor([self.ids[i] for i in indices]), torch.from_numpy(self.targets[indices])


def read_tsv(file):
    """[(sentence, ...)], [label]"""
    try:
        lines = pathlib.Path(file).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{file}: cannot be read: {error}") from None
    rows = [line.split("\t") for line in lines if line.strip()]
    if not rows:
        raise ValueError(f"{file}: no rows in it")
    pairs = len(rows[0]) >= 5
    if rows[0][0] in ("sentence", "Quality"):
        rows = rows[1:]
    for number, row in enumerate(rows, 1):
        if len(row) < (5 if pairs else 2):
            raise ValueError(f"{file}: row {number} has {len(row)} columns, must be sentence<TAB>label, or MRPC's five")
    if pairs:
        return [(row[3], row[4]) for row in rows], [row[0] for row in rows]
    return [(row[0].strip(),) for row in rows], [row[1].strip() for row in rows]
