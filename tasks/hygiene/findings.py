"""What is odd about a snapshot as a whole: its answers' lengths and beginnings, its refusals."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tasks.hygiene.refusal import is_refusal
from tasks.intervals import Z_95, wilson

LONGER = 0.6  # share of pairs whose chosen answer is longer, above which length is what is learned
OPENING_WORDS = 3
OPENING_SHARE = 0.1  # of the chosen answers that begin with the same words
REFUSALS = 0.05  # of the chosen answers
SHOWN = 10  # examples of a finding
CONTROL = re.compile(r"<\|[^|<>\s]{1,40}\|>|</?s>|<(?:start|end)_of_turn>|\[/?INST\]|</?think>")
"""Control tokens of chat templates, as they are spelt."""

TextPair = tuple[str, str]  # chosen, rejected


@dataclass(frozen=True)
class Finding:
    """What one rule found. `count`: rows, or groups or phrases, that are beyond the threshold."""

    rule: str
    threshold: float
    count: int
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class LengthBias:
    """How much longer chosen answers are than rejected ones; each with a 95 % interval.

    `words`: mean difference in words. `longer`: share of the pairs of unequal length whose chosen
    answer is longer, 0.5 where there is no bias; None without such a pair.
    """

    finding: Finding
    words: float
    words_interval: tuple[float, float]
    longer: float | None
    longer_interval: tuple[float, float]


def control_tokens(texts: Iterable[str]) -> Finding:
    """Texts that spell a control token of some model; to every model they are ordinary text."""
    found = [(text, spelt[0]) for text in texts if (spelt := CONTROL.search(text))]
    shown = tuple(f"{spelt} in: {_start(text)}" for text, spelt in found[:SHOWN])
    return Finding("control_tokens", 0.0, len(found), shown)


def length_bias(pairs: Sequence[TextPair], threshold: float = LONGER) -> LengthBias:
    """`finding.count`: pairs whose chosen answer is longer, if their share is beyond `threshold`
    by the lower end of its interval, else 0."""
    gaps = [len(chosen.split()) - len(rejected.split()) for chosen, rejected in pairs]
    longer, unequal = sum(gap > 0 for gap in gaps), sum(gap != 0 for gap in gaps)
    low, high = wilson(longer, unequal) if unequal else (0.0, 1.0)
    widest = sorted(range(len(pairs)), key=lambda at: -gaps[at])[:SHOWN]
    examples = tuple(
        f"{gaps[at]:+d} words: {_start(pairs[at][0])}" for at in widest if gaps[at] > 0
    )
    is_beyond = unequal > 0 and low > threshold
    finding = Finding("length", threshold, longer * is_beyond, examples if is_beyond else ())
    share = longer / unequal if unequal else None
    return LengthBias(finding, *_mean(gaps), share, (low, high))


def openings(
    chosen: Iterable[str], threshold: float = OPENING_SHARE, words: int = OPENING_WORDS
) -> Finding:
    """Boilerplate: answers that begin with the same words as more than that share of all do."""
    found = [tuple(re.findall(r"\w+", text[:200].casefold())[:words]) for text in chosen]
    counts = Counter(opening for opening in found if len(opening) == words)
    common = [(o, n) for o, n in counts.most_common() if n > 1 and n / len(found) > threshold]
    examples = tuple(f"{n} x {' '.join(opening)}" for opening, n in common[:SHOWN])
    return Finding("openings", threshold, sum(n for _, n in common), examples)


def refusals(rows: Iterable[tuple[str, str]], threshold: float = REFUSALS) -> Finding:
    """Of (prompt, chosen answer): how many answers decline."""
    found = [text for prompt, text in rows if is_refusal(text, prompt)]
    return Finding("refusals", threshold, len(found), tuple(map(_start, found[:SHOWN])))


def _start(text: str) -> str:
    return " ".join(text.split())[:100]


def _mean(values: Sequence[float]) -> tuple[float, tuple[float, float]]:
    """Mean and its 95 % interval by the normal approximation."""
    if not values:
        return 0.0, (0.0, 0.0)
    mean = math.fsum(values) / len(values)
    spread = math.fsum((value - mean) ** 2 for value in values) / max(len(values) - 1, 1)
    half = Z_95 * math.sqrt(spread / len(values))
    return mean, (mean - half, mean + half)
