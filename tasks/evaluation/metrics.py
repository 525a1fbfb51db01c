"""The figures of an evaluation with their uncertainty: pure functions over its rows.

A question is what counts: its value is the mean over the samples of it, a figure is the mean over
questions, and what is drawn again for an interval is questions. So several samples make a figure
surer as far as they tell more of each question, and no further.

| metric | what |
|---|---|
| reward ... rules, rule:<slug> | mean over held-out answers; see measures.py |
| probe:<name> | mean score of the probe's answers |
| stability:<name> | share of its questions whose samples all get the same verdict (score >= 0.5) |
| overused | share of held-out answers with a phrase that the policy uses more than its parent |
| reward_follows_rules | of the questions on which its share of rules is not its parent's, |
| | the share on which the reward moved the same way; 0.5: it says nothing of the rules |
| perplexity | of our own passages: exp of the mean negative log-probability a token; ordinary.py |
| win_rate:<other> ... | how often the judge prefers the policy's answer; see wins.py |

Each of the first three kinds is there once more as `<metric>_minus_<other>`: the difference to
base, parent and champion, paired by question; of perplexity, `perplexity_over_<other>` is the
ratio.
`n` says how many questions had a finite value.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from tasks.evaluation.columns import Columns, Values, measured, overused_phrases
from tasks.evaluation.measures import NO_RULES, PER_ANSWER, Answer, Measure, is_finite, rules
from tasks.evaluation.resampling import bootstrap
from tasks.evaluation.rows import BASE, CHAMPION, PARENTS
from tasks.evaluation.wins import Win, win_rows
from tasks.intervals import wilson

__all__ = [
    "HIGHER_IS_BETTER",
    "PER_ANSWER",
    "Answer",
    "Measure",
    "bootstrap",
    "higher_is_better",
    "is_finite",
    "measured",
    "overused_phrases",
    "paired",
    "rules",
    "summarise",
]

# By metric, what stands before a colon; None: neither is better by itself.
HIGHER_IS_BETTER: Mapping[str, bool | None] = MappingProxyType(
    {
        "reward": True,
        "kl": False,
        "tokens": None,
        "distinct_1": True,
        "distinct_2": True,
        "repetition": False,
        "refusal_rate": None,
        "eos_rate": True,
        "rules": True,
        "rule": True,
        "probe": True,
        "stability": True,
        "overused": False,
        "perplexity": False,
        "reward_follows_rules": True,
        "win_rate": True,
        "win_rate_by_length": True,
    }
)
RATES = (
    *("refusal_rate", "eos_rate", "rule", "rules", "probe", "stability", "overused"),
    "reward_follows_rules",
)
_DIFFERENCE = re.compile(rf"_(minus|over)_({BASE}|parent|{CHAMPION})$")

Row = dict[str, Any]
NOTHING: Mapping[str, Values] = MappingProxyType({})


def higher_is_better(metric: str) -> bool | None:
    """Which way a metric, or a difference of it, is better; None: neither, or not known."""
    return HIGHER_IS_BETTER.get(_DIFFERENCE.sub("", metric).partition(":")[0])


def summarise(
    answers: Iterable[Answer],
    rules: Mapping[str, Measure] = NO_RULES,
    seed: int = 0,
    nlls: Mapping[str, Values] = NOTHING,
    wins: Sequence[Win] = (),
    demanded: Sequence[str] = (),
) -> list[Row]:
    """{"policy", "metric", "value", "low", "high", "n"} per policy and metric, in order of answers.

    rules: more measures of held-out answers, with values from 0 to 1, as `rules` makes them; nlls:
    mean negative log-probability a token of each passage, by policy; demanded: phrases that nobody
    overuses (see measures.py). low, high: 95 % interval, a percentile bootstrap over questions, and
    Wilson's of a rate where every question's value is 0 or 1 (a bootstrap of 0 out of n has no
    width). Both None where n < 2. A metric without any value is left out.
    """
    columns = measured(list(answers), rules, demanded)
    rows = []
    for policy in dict.fromkeys([*columns, *nlls]):
        own = columns.get(policy, {})
        rows += [_row(policy, metric, values.values(), seed) for metric, values in own.items()]
        if follows := _follows(own, columns.get(PARENTS.get(policy, ""), {})):
            rows.append(_row(policy, "reward_follows_rules", follows, seed))
        rows += list(_differences(policy, columns, seed))
        rows += list(_perplexities(policy, nlls, seed))
        rows += win_rows(policy, others_of(policy), wins, seed)
    return rows


def paired(
    own: Mapping[str, Answer], other: Mapping[str, Answer], measure: Measure
) -> list[tuple[float, float]]:
    """A measure of two answers to one prompt, for all prompts where both have a finite value."""
    found = ((measure(own[p]), measure(other[p])) for p in own if p in other)
    return [(a, b) for a, b in found if is_finite(a) and is_finite(b)]


def others_of(policy: str) -> dict[str, str]:
    """What a policy is held against, by role: base, parent and champion, none of them itself; the
    base is held against nothing.
    """
    if policy == BASE:
        return {}
    roles = {BASE: BASE, "parent": PARENTS.get(policy, ""), CHAMPION: CHAMPION}
    return {role: name for role, name in roles.items() if name and name != policy}


def _follows(own: Mapping[str, Values], parent: Mapping[str, Values]) -> list[float]:
    """For each question on which the share of rules kept is another than the parent's: 1 where the
    reward moved with it, 0 where against it, 0.5 where it stayed.
    """
    rule, reward = (_gaps(own, parent, metric) for metric in ("rules", "reward"))
    both = [(gap, reward[q]) for q, gap in rule.items() if gap and q in reward]
    return [0.5 if not moved else float((gap > 0) == (moved > 0)) for gap, moved in both]


def _gaps(own: Mapping[str, Values], other: Mapping[str, Values], metric: str) -> Values:
    theirs = other.get(metric, {})
    return {q: value - theirs[q] for q, value in own.get(metric, {}).items() if q in theirs}


def _differences(policy: str, columns: Columns, seed: int) -> Iterator[Row]:
    for role, other in others_of(policy).items():
        own = columns.get(policy, {})
        for metric in own:
            gaps = list(_gaps(own, columns.get(other, {}), metric).values())
            if gaps and metric != "overused":  # its phrases are each policy's own
                yield _row(policy, f"{metric}_minus_{role}", gaps, seed)


def _perplexities(policy: str, nlls: Mapping[str, Values], seed: int) -> Iterator[Row]:
    own = nlls.get(policy, {})
    if not own:
        return
    yield _exp(_row(policy, "perplexity", own.values(), seed))
    for role, other in others_of(policy).items():
        theirs = nlls.get(other, {})
        gaps = [value - theirs[passage] for passage, value in own.items() if passage in theirs]
        if gaps:
            yield _exp(_row(policy, f"perplexity_over_{role}", gaps, seed))


def _exp(row: Row) -> Row:
    names = ("value", "low", "high")
    return row | {n: None if row[n] is None else math.exp(row[n]) for n in names}


def _row(policy: str, metric: str, values: Collection[float], seed: int) -> Row:
    is_rate = metric.partition(":")[0] in RATES and not _DIFFERENCE.search(metric)
    low, high = _interval(is_rate, list(values), seed)
    numbers = {"value": _mean(values), "low": low, "high": high, "n": len(values)}
    return {"policy": policy, "metric": metric, **numbers}


def _mean(values: Collection[float]) -> float:
    return math.fsum(values) / len(values)


def _interval(
    is_rate: bool, values: Sequence[float], seed: int
) -> tuple[float | None, float | None]:
    if len(values) < 2:
        return None, None
    if is_rate and all(value in (0.0, 1.0) for value in values):
        return wilson(math.fsum(values), len(values))
    return bootstrap(values, seed)
