"""Measures of answers and their uncertainty: pure functions over rows of answers.jsonl.

| metric | of one answer | range |
|---|---|---|
| reward | the reward checkpoint's score | any |
| reward_minus_sft | reward minus sft's reward on the same prompt | any |
| kl | log p_policy - log p_sft, summed over tokens (nats); the mean estimates the KL | any |
| tokens | generated tokens | >= 0 |
| distinct_1, distinct_2 | different words (pairs of words) per word (pair) | (0, 1] |
| repetition | share of 4-word sequences that occurred before in the answer | [0, 1) |
| refusal_rate | declines (see hygiene/refusal.py) | 0 or 1 |
| eos_rate | ended by itself | 0 or 1 |
| rule:<slug> | keeps the check of an enabled principle; see constitution/checks.py | 0 or 1 |
| rules | share of the checks that apply to it which it keeps | [0, 1] |

Every value is a mean over answers. Words are split at white space, so the three word measures say
little about scripts without spaces. Answers too short to have an n-gram, and prompts too long to be
answered, do not count, nor do answers to which no check applies: `n` says how many did. An answer
that was cut counts as it stands.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, TypeGuard

import numpy as np

from constitution.checks import complies
from constitution.schema import Constitution, Principle
from tasks.hygiene.refusal import is_refusal
from tasks.intervals import wilson

Answer = Mapping[str, Any]
Measure = Callable[[Answer], float | None]
NO_RULES: Mapping[str, Measure] = MappingProxyType({})
RESAMPLES = 2000
REFERENCE = "sft"
_CHUNK = 4_000_000  # drawn indices in memory at once


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
RATES = ("refusal_rate", "eos_rate")


def rules(constitution: Constitution) -> dict[str, Measure]:
    """The measures by name; none where no enabled principle has a check."""
    checked = [principle for principle in constitution.enabled if principle.check is not None]
    measures: dict[str, Measure] = {f"rule:{p.slug}": partial(_kept, p) for p in checked}
    return measures | ({"rules": partial(_share, checked)} if checked else {})


def _kept(principle: Principle, answer: Answer) -> float | None:
    kept = complies(principle, answer["prompt"], answer["text"])
    return None if kept is None else float(kept)


def _share(checked: list[Principle], answer: Answer) -> float | None:
    values = [kept for p in checked if (kept := _kept(p, answer)) is not None]
    return math.fsum(values) / len(values) if values else None


def answered(answers: Iterable[Answer]) -> dict[str, dict[str, Answer]]:
    """The answers that were made, by policy and prompt, in their order."""
    found: dict[str, dict[str, Answer]] = {}
    for answer in answers:
        if answer["finish_reason"] != "too_long":
            found.setdefault(answer["policy"], {})[answer["prompt_id"]] = answer
    return found


def summarise(
    answers: Iterable[Answer],
    rules: Mapping[str, Measure] = NO_RULES,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """{"policy", "metric", "value", "low", "high", "n"} per policy and metric, in order of answers.

    rules: more measures, with values from 0 to 1, as `rules` makes them. low, high: 95 %
    interval, a percentile bootstrap over answers, and Wilson's for rules and the two rates (a
    bootstrap of 0 out of n has no width; for values between 0 and 1 Wilson's is if anything too
    wide). Both None where n < 2. A metric without any value is left out; reward_minus_sft is paired
    by prompt and there for every policy but sft.
    """
    by_policy = answered(answers)
    rows = []
    for policy, own in by_policy.items():
        columns: dict[str, Sequence[float | None]] = {
            metric: [measure(answer) for answer in own.values()]
            for metric, measure in (PER_ANSWER | dict(rules)).items()
        }
        if policy != REFERENCE:
            pairs = paired(own, by_policy.get(REFERENCE, {}), PER_ANSWER["reward"])
            columns["reward_minus_sft"] = [value - base for value, base in pairs]
        for metric, column in columns.items():
            values = [value for value in column if is_finite(value)]
            if values:
                is_rate = metric in RATES or metric in rules
                low, high = _interval(is_rate, values, seed)
                mean = math.fsum(values) / len(values)
                numbers = {"value": mean, "low": low, "high": high, "n": len(values)}
                rows.append({"policy": policy, "metric": metric, **numbers})
    return rows


def paired(
    own: Mapping[str, Answer], other: Mapping[str, Answer], measure: Measure
) -> list[tuple[float, float]]:
    """A measure of two answers to one prompt, for all prompts where both have a finite value."""
    found = ((measure(own[p]), measure(other[p])) for p in own if p in other)
    return [(a, b) for a, b in found if is_finite(a) and is_finite(b)]


def is_finite(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def _interval(
    is_rate: bool, values: Sequence[float], seed: int
) -> tuple[float | None, float | None]:
    if len(values) < 2:
        return None, None
    if is_rate:
        return wilson(math.fsum(values), len(values))
    return bootstrap(values, seed)


def bootstrap(
    values: Sequence[float], seed: int = 0, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the mean; the same seed gives the same interval."""
    data, generator = np.asarray(values, dtype=np.float64), np.random.default_rng(seed)
    rows = max(1, _CHUNK // len(data))
    means = [
        data[generator.integers(len(data), size=(min(rows, resamples - start), len(data)))].mean(1)
        for start in range(0, resamples, rows)
    ]
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5])
    return float(low), float(high)
