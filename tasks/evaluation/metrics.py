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
from functools import partial
from types import MappingProxyType
from typing import Any

from tasks.evaluation.measures import (
    NO_RULES,
    PER_ANSWER,
    Answer,
    Measure,
    is_finite,
    rules,
)
from tasks.evaluation.resampling import bootstrap
from tasks.evaluation.rows import BASE, CHAMPION, HELD_OUT, PARENTS
from tasks.evaluation.wins import Win, win_rows
from tasks.hygiene.overused import holds, more_often
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
        "win_rate": True,
        "win_rate_by_length": True,
    }
)
RATES = ("refusal_rate", "eos_rate", "rule", "rules", "probe", "stability", "overused")
_DIFFERENCE = re.compile(rf"_(minus|over)_({BASE}|parent|{CHAMPION})$")

Row = dict[str, Any]
Values = Mapping[str, float]  # by question
Columns = dict[str, dict[str, Values]]  # by policy and metric
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
    mean negative log-probability a token of each passage, by policy; demanded: phrases that are not
    overused, as measures.py finds them. low, high: 95 % interval, a
    percentile bootstrap over questions, and Wilson's of a rate where every question's value is 0 or
    1 (a bootstrap of 0 out of n has no width). Both None where n < 2. A metric without any value is
    left out.
    """
    columns = measured(list(answers), rules, demanded)
    rows = []
    for policy in dict.fromkeys([*columns, *nlls]):
        own = columns.get(policy, {})
        rows += [_row(policy, metric, values.values(), seed) for metric, values in own.items()]
        rows += list(_differences(policy, columns, seed))
        rows += list(_perplexities(policy, nlls, seed))
        rows += win_rows(policy, others_of(policy), wins, seed)
    return rows


def measured(
    answers: Sequence[Answer],
    rules: Mapping[str, Measure] = NO_RULES,
    demanded: Sequence[str] = (),
) -> Columns:
    """Every measure of every policy by question: the mean over its samples."""
    made = [answer for answer in answers if answer["finish_reason"] != "too_long"]
    by_policy: dict[str, list[Answer]] = {}
    for answer in made:
        by_policy.setdefault(answer["policy"], []).append(answer)
    phrases = overused_phrases(answers, demanded)
    columns: Columns = {}
    for policy, own in by_policy.items():
        held_out = [answer for answer in own if answer["probe"] == HELD_OUT]
        measures = PER_ANSWER | dict(rules)
        if policy in phrases:
            measures["overused"] = partial(_holds_one, phrases[policy])
        columns[policy] = {name: _by_question(held_out, m) for name, m in measures.items()}
        for probe in dict.fromkeys(a["probe"] for a in own if a["probe"] != HELD_OUT):
            asked = [answer for answer in own if answer["probe"] == probe]
            columns[policy][f"probe:{probe}"] = _by_question(asked, lambda answer: answer["score"])
            columns[policy][f"stability:{probe}"] = _stability(asked)
        columns[policy] = {name: values for name, values in columns[policy].items() if values}
    return columns


def _holds_one(phrases: Sequence[str], answer: Answer) -> float:
    return float(holds(answer["text"], phrases))


def _samples(answers: Iterable[Answer], measure: Measure) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for answer in answers:
        value = measure(answer)
        if is_finite(value):
            found.setdefault(answer["question_id"], []).append(value)
    return found


def _by_question(answers: Iterable[Answer], measure: Measure) -> dict[str, float]:
    return {q: _mean(values) for q, values in _samples(answers, measure).items()}


def _stability(answers: Iterable[Answer]) -> dict[str, float]:
    """Of the questions with several scored samples, 1 where all get the same verdict, else 0."""
    verdicts = _samples(answers, lambda a: None if a["score"] is None else float(a["score"] >= 0.5))
    return {q: float(len(set(own)) == 1) for q, own in verdicts.items() if len(own) > 1}


def paired(
    own: Mapping[str, Answer], other: Mapping[str, Answer], measure: Measure
) -> list[tuple[float, float]]:
    """A measure of two answers to one prompt, for all prompts where both have a finite value."""
    found = ((measure(own[p]), measure(other[p])) for p in own if p in other)
    return [(a, b) for a, b in found if is_finite(a) and is_finite(b)]


def overused_phrases(
    answers: Iterable[Answer], demanded: Sequence[str] = ()
) -> dict[str, list[str]]:
    """The phrases that a policy uses more than its parent, beyond chance, the surest first.

    Of their held-out answers to the same question and sample, but for what the constitution demands
    word for word, and single words, of which a new manner has many. Policies without a parent here
    are left out.
    """
    asked = re.compile("|".join(map(re.escape, demanded)) or r"(?!)", re.IGNORECASE)
    texts: dict[str, dict[tuple[str, int], str]] = {}
    for answer in answers:
        if answer["probe"] == HELD_OUT and answer["finish_reason"] != "too_long":
            place = answer["question_id"], answer["sample"]
            texts.setdefault(answer["policy"], {})[place] = asked.sub(" ", answer["text"])
    found = {}
    for policy, own in texts.items():
        before = texts.get(PARENTS.get(policy, ""), {})
        pairs = [(text, before[place]) for place, text in own.items() if place in before]
        if pairs:
            questions = len({question for question, _ in own})
            phrases = (phrase.text for phrase in more_often(pairs, questions))
            found[policy] = [phrase for phrase in phrases if " " in phrase]
    return found


def others_of(policy: str) -> dict[str, str]:
    """What a policy is held against, by role: base, parent and champion, none of them itself; the
    base is held against nothing.
    """
    if policy == BASE:
        return {}
    roles = {BASE: BASE, "parent": PARENTS.get(policy, ""), CHAMPION: CHAMPION}
    return {role: name for role, name in roles.items() if name and name != policy}


def _differences(policy: str, columns: Columns, seed: int) -> Iterator[Row]:
    for role, other in others_of(policy).items():
        for metric, values in columns.get(policy, {}).items():
            theirs = columns.get(other, {}).get(metric, {})
            gaps = [value - theirs[q] for q, value in values.items() if q in theirs]
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
