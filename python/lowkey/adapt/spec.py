"""What `atp:form=...,r=...` says, read as the C++ engine reads it (src/attention/atp.cc)."""
import fractions
from dataclasses import dataclass

KEYS = ("form", "r", "sink", "recent", "chunk", "min", "basis", "bits", "linear")
FORMS = ("factor", "softmax", "linear")


@dataclass(frozen=True)
class Atp:
    """Tokens [sink, due(length)) are in short form for the row that is the length-th of its sequence."""

    form: str
    rank: float | int | None  # a part (float) of the width, in encoders of the tokens; or a count (int)
    sink: int
    recent: int
    chunk: int
    min: int
    causal: bool
    basis: str = "output"  # form=factor: what its directions hold most of; or "energy", of K and V themselves
    bits: int = 16  # form=factor: of a number that is kept of an old token; 8 or 4 (packed.py)
    linear: str = "off"  # form=softmax of encoders: linear layers on the factor; "on", or "auto": where it saves time

    def directions(self, tokens, width):
        """R of so many tokens in short form."""
        wanted = self.rank if isinstance(self.rank, int) else int(self.rank * (width if self.causal else tokens))
        return min(max(wanted, 1), width, tokens)

    def due(self, length):
        """The end of the tokens in short form; 0: none are."""
        if not self.causal:
            return 0 if length < self.min or length <= self.sink else length
        old = length - self.sink - self.recent
        return 0 if length < self.min or old < self.chunk else self.sink + old // self.chunk * self.chunk

    def queries_on_factor(self, tokens, width, rank):
        """As src/attention/atp_cost.h has it: where it saves a fifth of the operations."""
        return self.linear == "on" or (self.linear == "auto" and rank / tokens + rank / width <= 0.8)

    def pieces(self, tokens):
        """(begin, end, due): runs of rows that see the same tokens in short form."""
        if not self.causal:
            return [(0, tokens, self.due(tokens))]
        found, begin = [], 0
        for row in range(1, tokens + 1):
            if row == tokens or self.due(row + 1) != self.due(begin + 1):
                found.append((begin, row, self.due(begin + 1)))
                begin = row
        return found


def parse(text, causal):
    """None for `dense`. Raises ValueError for what is no ATP with a fixed number of directions."""
    name, _, rest = text.partition(":")
    if name == "dense" and not rest:
        return None
    if name != "atp":
        raise ValueError(f"--attention {text}: must be dense or atp:form=...,r=...")
    settings = {}
    for item in filter(None, rest.split(",")):
        key, equals, value = item.partition("=")
        if not equals or key not in KEYS:
            raise ValueError(f"--attention {text}: '{item}', must be one of {'=, '.join(KEYS)}=")
        settings[key] = value
    form = settings.get("form", FORMS[0])
    if form not in FORMS:
        raise ValueError(f"--attention {text}: form={form}, must be one of {', '.join(FORMS)}")
    if form == "linear" and "r" in settings:
        raise ValueError(f"--attention {text}: form=linear has no r, what it keeps of a head is [D, D]")
    rank = None if form == "linear" else _amount(text, settings.get("r", "1/4"))
    counts = {"sink": 4 if causal else 0, "recent": 64, "chunk": 256, "min": 1024 if causal else 0}
    for key in counts:
        word = settings.get(key, str(counts[key]))
        least = 1 if key in ("recent", "chunk") else 0
        if not word.isdecimal() or int(word) < least:
            raise ValueError(f"--attention {text}: {key}={word}, must be a whole number of at least {least}")
        counts[key] = int(word)
    basis = settings.get("basis", "output")
    if basis not in ("output", "energy") or (form != "factor" and "basis" in settings):
        raise ValueError(f"--attention {text}: basis={basis}, must be output or energy, of form=factor")
    bits = settings.get("bits", "16")
    if bits not in ("16", "8", "4") or (form != "factor" and "bits" in settings):
        raise ValueError(f"--attention {text}: bits={bits}, must be 16, 8 or 4, of form=factor")
    linear = settings.get("linear", "auto")
    possible = form == "softmax" and not causal and counts["sink"] == 0 and counts["min"] == 0
    if linear not in ("auto", "on", "off") or (linear == "on" and not possible):
        raise ValueError(f"--attention {text}: linear={linear}, must be auto, on or off; on: in encoders with "
                         "form=softmax, sink=0 and min=0")
    linear = linear if possible else "off"
    return Atp(form=form, rank=rank, causal=causal, basis=basis, bits=int(bits), linear=linear, **counts)


def _amount(text, word):
    if word == "all":
        return 1.0
    if word.endswith("e") or word == "entropy":
        raise ValueError(f"--attention {text}: r={word} grows with the text; training needs a part (1/4) or a count")
    if word.isdecimal() and int(word) > 0:
        return int(word)
    try:
        share = float(fractions.Fraction(word)) if "/" in word or "." in word else 0
    except (ValueError, ZeroDivisionError):
        share = 0
    if not 0 < share <= 1:
        raise ValueError(f"--attention {text}: r={word}, must be a part above 0 and at most 1 (1/4), or a count")
    return share
