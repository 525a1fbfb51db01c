"""The measures in the order a reader wants them, and in words.

Names are those of the ledger: `rules`, `rule:<slug>`, `probe:<name>` and so on; what stands before
the colon says what kind of measure it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from tasks.evaluation.metrics import higher_is_better

# By kind: in words, digits.
KINDS: dict[str, tuple[str, int]] = {
    "rules": ("rules kept", 2),
    "rule": ("", 2),
    "probe": ("", 2),
    "perplexity": ("perplexity of ordinary text", 1),
    "eos_rate": ("ends by itself", 2),
    "repetition": ("repetition", 3),
    "overused": ("overused phrases", 2),
    "distinct_1": ("different words", 2),
    "distinct_2": ("different word pairs", 2),
    "tokens": ("length, tokens", 0),
    "refusal_rate": ("refusals", 2),
    "reward": ("reward", 2),
    "reward_follows_rules": ("reward follows rules", 2),
    "kl": ("KL to SFT, nats", 2),
    "win_rate": ("wins against", 2),
    "win_rate_by_length": ("wins at equal length against", 2),
    "stability": ("stable:", 2),
}
PROBES = ("helpfulness", "instruction-following", "format", "honesty", "sycophancy", "harmful")
UNMARKED = ("kl",)  # it is measured from SFT, so a difference to the base means nothing
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


def is_win_rate(metric: str) -> bool:
    return kind(metric).startswith("win_rate")


def unmoved(metric: str) -> float:
    """What a difference is where nothing changed: of perplexity it is a ratio."""
    return 1.0 if metric == "perplexity" else 0.0


def is_higher_better(metric: str) -> bool | None:
    return None if metric in UNMARKED else higher_is_better(metric)


def digits(metric: str) -> int:
    return KINDS.get(kind(metric), ("", 2))[1]


def in_words(metric: str) -> str:
    """A measure as people read it: `rule:no-lists` is the rule's name, `rules` "rules kept"."""
    name, _, what = metric.partition(":")
    words = KINDS.get(name, (name, 2))[0]
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


def rounded(value: float, digits: int, sign: str = "") -> str:
    """A number as people read it, without the sign of a zero."""
    return f"{round(value, digits) + 0.0:{sign}.{digits}f}"


def number(metric: str, value: float) -> str:
    return rounded(value, digits(metric))


def change(metric: str, by: float) -> str:
    """A difference as people read it: `+0.22`, or `x1.04` of a ratio."""
    return f"x{by:.2f}" if metric == "perplexity" else rounded(by, digits(metric), "+")
