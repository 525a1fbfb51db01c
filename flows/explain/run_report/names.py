"""The measures in the order a reader wants them, in words, and which way is better.

Names are those of the ledger: `rules`, `rule:<slug>`, `probe:<name>` and so on; what stands before
the colon says what kind of measure it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

# Kind: (in words, digits, is higher better; None: neither).
KINDS: dict[str, tuple[str, int, bool | None]] = {
    "rules": ("rules kept", 2, True),
    "rule": ("", 2, True),
    "probe": ("", 2, True),
    "perplexity": ("perplexity of ordinary text", 1, False),
    "eos_rate": ("ends by itself", 2, True),
    "repetition": ("repetition", 3, False),
    "overused": ("overused phrases", 2, False),
    "distinct_1": ("different words", 2, True),
    "distinct_2": ("different word pairs", 2, True),
    "tokens": ("length, tokens", 0, None),
    "refusal_rate": ("refusals", 2, None),
    "reward": ("reward", 2, True),
    "kl": ("KL to SFT, nats", 2, None),
    "win_rate": ("wins against", 2, True),
    "win_rate_by_length": ("wins at equal length against", 2, True),
    "stability": ("stable:", 2, True),
}
PROBES = ("helpfulness", "instruction-following", "format", "honesty", "sycophancy", "harmful")
# How those of which neither is better moved: more, less.
MOVED = {"tokens": ("longer", "shorter"), "refusal_rate": ("more", "fewer")}
COMPARED = ("_minus_", "_over_")
Against = Literal["base", "parent", "champion"]


def kind(metric: str) -> str:
    return metric.partition(":")[0]


def is_compared(metric: str) -> bool:
    """Whether a measure is a difference or ratio to another policy."""
    return any(sign in metric for sign in COMPARED)


def difference(metric: str, against: Against = "base") -> str:
    """The measure of how a policy differs from another, question by question."""
    sign = "over" if metric == "perplexity" else "minus"
    return f"{metric}_{sign}_{against}"


def plain(metric: str) -> str:
    """The measure that a difference or ratio is of."""
    return metric.partition(COMPARED[0])[0].partition(COMPARED[1])[0]


def is_higher_better(metric: str) -> bool | None:
    return KINDS.get(kind(metric), ("", 2, None))[2]


def digits(metric: str) -> int:
    return KINDS.get(kind(metric), ("", 2, None))[1]


def in_words(metric: str) -> str:
    """A measure as people read it: `rule:no-lists` is the rule's name, `rules` "rules kept"."""
    name, _, what = metric.partition(":")
    words = KINDS.get(name, (name, 2, None))[0]
    return " ".join(part for part in (words, what.replace(":", ", ")) if part)


def ordered(metrics: Iterable[str]) -> list[str]:
    """The measures that are no comparisons, in reading order; unknown ones at the end."""
    kinds = list(KINDS)

    def place(metric: str) -> tuple[int, int, str]:
        own = kind(metric)
        first = kinds.index(own) if own in KINDS else len(kinds)
        what = metric.partition(":")[2]
        return first, PROBES.index(what) if what in PROBES else len(PROBES), what

    return sorted({metric for metric in metrics if not is_compared(metric)}, key=place)
