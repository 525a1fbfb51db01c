"""Do two answers say the same? And does one repeat itself?"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

REPEATED = 0.6  # share of an answer's four-word runs that occurred before: it goes round in a loop
LOOP_WORDS = 40  # fewer words make no loop

_FENCE = re.compile(r"(```.*?(?:```|\Z)|`[^`\n]+`)", re.DOTALL)
_SIGNS = str.maketrans(
    {**dict.fromkeys("\u2019\u2018\u00b4", "'"), **dict.fromkeys("“”„«»", '"'), "…": "."}
)
# Emphasis, headings and list signs of Markdown, and quotes, as they stand around words.
_AROUND = re.compile(
    r"^[ \t]*(?:#+|[-*+])\s(?=\S)|(?<!\S)[\"'*]+(?=\w)|(?<=[\w.!,])[\"'*]+(?![\w*])", re.MULTILINE
)
# A full stop, comma or the like at the end of a word. "5!", "a.b", "!x", "3.14" and "?" mean
# something, and so does any sign beside an operator.
_AFTER = re.compile(
    r"(?<=[^\s=<>!&|+\-*/^.,;:])[.,;:]+(?=\s|$)|(?<=[^\W\d])[!.]+(?=\s|$)|(?<=[^\W\d])[。！，；：、]+"
)
_DASH = re.compile(r"\s+[-–—]+\s+(?=[^\W\d])")


def is_unchanged(before: str, after: str) -> bool:
    """Whether two texts differ in case, spaces and idle punctuation alone; code must be equal."""
    return _plain(before) == _plain(after)


def _plain(text: str) -> list[str]:
    parts = _FENCE.split(unicodedata.normalize("NFC", text.strip()))
    return [part if at % 2 else _words(part) for at, part in enumerate(parts)]


def _words(text: str) -> str:
    text = re.sub(r"\s+([.,;:!?])(?=\s|$)", r"\1", text.translate(_SIGNS).casefold())
    for _ in range(2):  # a full stop within a quote within brackets
        text = _AFTER.sub("", _AROUND.sub("", text))
    return " ".join(_DASH.sub(" ", text).split())


def is_loop(text: str) -> bool:
    """Whether most of the text says again what it said before."""
    words = text.casefold().split()
    runs = Counter(zip(*(words[start:] for start in range(4)), strict=False))
    total = sum(runs.values())
    return len(words) >= LOOP_WORDS and 1 - len(runs) / total > REPEATED
