"""What is measured of one answer: pure functions of a row of answers.jsonl.

| measure | of a held-out answer | range |
|---|---|---|
| reward | the reward checkpoint's score | any |
| kl | log p_policy - log p_sft, summed over tokens (nats); the mean estimates the KL | any |
| tokens | generated tokens | >= 0 |
| distinct_1, distinct_2 | different words (pairs of words) per word (pair) | (0, 1] |
| repetition | share of 4-word sequences that occurred before in the answer | [0, 1) |
| refusal_rate | declines (see hygiene/refusal.py) | 0 or 1 |
| eos_rate | ended by itself | 0 or 1 |
| rule:<slug> | keeps the check of an enabled principle; see constitution/checks.py | 0 or 1 |
| rules | share of the checks that apply to it which it keeps | [0, 1] |

Words are split at white space, so the three word measures say little about scripts without spaces.
None where a measure says nothing: an answer too short to have an n-gram, or to which no check
applies. An answer that was cut counts as it stands.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, TypeGuard

from constitution.checks import complies
from constitution.schema import Constitution, Principle
from tasks.hygiene.refusal import is_refusal

Answer = Mapping[str, Any]
Measure = Callable[[Answer], float | None]
DEMANDING = ("begins_with", "ends_with", "contains")  # checks whose parameter is a phrase
NO_RULES: Mapping[str, Measure] = MappingProxyType({})


def distinct(text: str, n: int) -> float | None:
    """Different n-grams of words / n-grams (Li et al. 2016, arXiv 1510.03055); None without one."""
    grams = _grams(text, n)
    return len(set(grams)) / len(grams) if grams else None


def repetition(text: str) -> float | None:
    """Share of 4-grams of words that are repeats of an earlier one; None below four words."""
    share = distinct(text, 4)
    return None if share is None else 1.0 - share


def _grams(text: str, n: int) -> list[tuple[str, ...]]:
    words = text.casefold().split()
    return list(zip(*(words[start:] for start in range(n)), strict=False))


PER_ANSWER: dict[str, Measure] = {
    "reward": lambda answer: answer["reward"],
    "kl": lambda answer: answer["kl"],
    "tokens": lambda answer: answer["tokens"],
    "distinct_1": lambda answer: distinct(answer["text"], 1),
    "distinct_2": lambda answer: distinct(answer["text"], 2),
    "repetition": lambda answer: repetition(answer["text"]),
    "refusal_rate": lambda answer: float(is_refusal(answer["text"], answer["prompt"])),
    "eos_rate": lambda answer: float(answer["finish_reason"] == "stop"),
}


def rules(constitution: Constitution) -> dict[str, Measure]:
    """The measures by name; none where no enabled principle has a check."""
    checked = [principle for principle in constitution.enabled if principle.check is not None]
    measures: dict[str, Measure] = {f"rule:{p.slug}": partial(_kept, p) for p in checked}
    return measures | ({"rules": partial(_share, checked)} if checked else {})


def demanded(constitution: Constitution) -> tuple[str, ...]:
    """The phrases that an enabled principle demands word for word."""
    checks = (principle.check for principle in constitution.enabled)
    return tuple(str(check[1]) for check in checks if check and check[0] in DEMANDING)


def _kept(principle: Principle, answer: Answer) -> float | None:
    kept = complies(principle, answer["prompt"], answer["text"])
    return None if kept is None else float(kept)


def _share(checked: list[Principle], answer: Answer) -> float | None:
    values = [kept for p in checked if (kept := _kept(p, answer)) is not None]
    return math.fsum(values) / len(values) if values else None


def is_finite(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)
