"""What differs between two texts, word by word."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import groupby, takewhile
from operator import itemgetter
from typing import Literal

from rich.console import Console
from rich.text import Text

from flows.explain.compare.text import visible

Kind = Literal["same", "removed", "added"]
MARKS: dict[Kind, tuple[str, str]] = {
    "same": ("", ""),
    "removed": ("[-", "-]"),
    "added": ("{+", "+}"),
}
STYLES: dict[Kind, str] = {"same": "", "removed": "red strike", "added": "green"}

# A word, a run of whitespace, or one mark. Scripts without spaces give a token a character; what
# joins or follows a letter (accents, vowel signs, the joiners within an emoji) stays with its word.
_MARK = (
    r"!-&(-/:-@\[-^`{-~\u00a1-\u00bf"
    r"\u2010-\u2018\u201a-\u2027\u2030-\u205e\u3000-\u303f\uff00-\uff0f"
)
_ALONE = r"\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff"
_TOKEN = re.compile(rf"\s+|[{_MARK}{_ALONE}]|[^\s{_MARK}{_ALONE}]+")

# Past so many pairs of equal tokens the most frequent tokens no longer start a match: a text of one
# word ten thousand times would otherwise take minutes.
MAX_MATCHES = 2_000_000


@dataclass(frozen=True)
class Piece:
    """A stretch of text that both sides have, or only the side before, or only the side after."""

    kind: Kind
    text: str


def difference(before: str, after: str) -> list[Piece]:
    """The pieces that turn `before` into `after`, removed before added where both change.

    The texts of same and removed pieces join to `before`, those of same and added to `after`.
    """
    if before == after:
        return [Piece("same", before)] if before else []
    old, new = _TOKEN.findall(before), _TOKEN.findall(after)
    start = _common(old, new)
    end = _common(old[start:][::-1], new[start:][::-1])
    middle = _changes(old[start : len(old) - end], new[start : len(new) - end])
    return _joined([("same", old[:start]), *middle, ("same", old[len(old) - end :])])


def _common(old: list[str], new: list[str]) -> int:
    """How many tokens both begin with."""
    pairs = zip(old, new, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _changes(old: list[str], new: list[str]) -> list[tuple[Kind, list[str]]]:
    counts = Counter(new)
    matches = sum(counts[token] for token in old if not token.isspace())
    matcher = SequenceMatcher(str.isspace, old, new, autojunk=matches > MAX_MATCHES)
    found: list[tuple[Kind, list[str]]] = []
    for tag, a, b, c, d in matcher.get_opcodes():
        if tag == "equal":
            found.append(("same", old[a:b]))
        else:
            found += [("removed", old[a:b]), ("added", new[c:d])]
    return found


def _joined(parts: Iterable[tuple[Kind, list[str]]]) -> list[Piece]:
    """Pieces without empty ones, neighbours of one kind in one."""
    tokens = ((kind, token) for kind, found in parts for token in found)
    grouped = groupby(tokens, key=itemgetter(0))
    return [Piece(kind, "".join(token for _, token in group)) for kind, group in grouped]


def marked(pieces: Iterable[Piece]) -> str:
    """One text with [-removed-] and {+added+} words. Control characters are made visible."""
    return "".join(visible(p.text).join(MARKS[p.kind]) for p in pieces)


def in_terminal(pieces: Iterable[Piece], colours: bool | None = None) -> Text:
    """Removed words red and struck, added green; without colours as `marked` does.

    colours: None asks the terminal on standard output (NO_COLOR and TERM honoured).
    """
    if colours is None:
        console = Console(emoji=False)
        colours = console.color_system is not None and not console.no_color
    if not colours:
        return Text(marked(pieces))
    return Text.assemble(*((visible(piece.text), STYLES[piece.kind]) for piece in pieces))
