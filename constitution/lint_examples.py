"""Worked examples that would teach a model the wrong form of a critique or a revision."""

from __future__ import annotations

import re
from collections.abc import Iterator

from constitution.errors import shown
from constitution.schema import Constitution, Example

COPIED = 0.8  # likeness of a critique to a response or revision above which it is one
LONG_CRITIQUE = 4  # times the longer of response and revision
SHORT = 300  # characters that a critique may have in any case

_PREAMBLE = re.compile(
    r"(?:(?:sure|certainly|of course|okay|ok)\b[^\w\n]*)?here(?:'s|\u2019s| is| are)\b[^.\n]{0,40}"
    r"\b(?:revis\w+|rewrit\w+|response|answer|version|critique)\b"
    r"|(?:sure|certainly|of course|okay)!"
    r"|(?:(?:new|revised|rewritten|final|my|the) )*"
    r"(?:response|revision|answer|version|rewrite|critique|assistant)\s*:",
    re.I,
)


def words(text: str) -> frozenset[str]:
    """Return the words of a text, without regard to case."""
    return frozenset(re.findall(r"\w+", text.casefold()))


def likeness(a: frozenset[str], b: frozenset[str]) -> float:
    """Return how alike two sets are, 0 to 1, after Sørensen and Dice: 2 |a and b| / (|a| + |b|)."""
    return 2 * len(a & b) / ((len(a) + len(b)) or 1)


def example_notes(constitution: Constitution) -> Iterator[tuple[int, str]]:
    """Yield (line, message) for every oddity of an example."""
    known = {p.slug: p for p in constitution.principles}
    for example in constitution.examples:
        principle = known.get(example.principle)
        name = shown(example.principle)
        if principle is None:
            yield example.line, f"{name}: the example names no principle; fix the name"
        elif not principle.enabled:
            yield example.line, f"{name}: the example's principle is disabled; enable it"
        yield from ((example.line, note) for note in _form(example))
    yield from _changes(constitution.examples)


def _form(example: Example) -> Iterator[str]:
    for key in ("critique", "revision"):
        value = getattr(example, key)
        if _PREAMBLE.match(value):
            yield f"{shown(value)}: the {key} begins with a preamble; write the {key} alone"
    for key in ("response", "revision"):
        if likeness(words(example.critique), words(getattr(example, key))) > COPIED:
            fault = f"the critique repeats the {key}; say what is wrong instead"
            yield f"{shown(example.critique)}: {fault}"
            break
    most = max(SHORT, LONG_CRITIQUE * max(len(example.response), len(example.revision)))
    if (length := len(example.critique)) > most:
        yield f"{length}: the critique has more than {most} characters; shorten it"


def _changes(examples: tuple[Example, ...]) -> Iterator[tuple[int, str]]:
    kept = [e for e in examples if e.revision.split() == e.response.split()]
    if len(examples) > 1 and 2 * len(kept) > len(examples):
        count = f"{len(kept)} of {len(examples)}"
        fault = "examples keep the response as it is; let most of them change it"
        yield kept[0].line, f"{count}: {fault}"
