"""Every measure of every policy, question by question: what figures are the means of."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from tasks.evaluation.measures import NO_RULES, PER_ANSWER, Answer, Measure, is_finite
from tasks.evaluation.rows import HELD_OUT, PARENTS
from tasks.hygiene.overused import holds, more_often

Values = Mapping[str, float]  # by question
Columns = dict[str, dict[str, Values]]  # by policy and metric


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
    return {q: math.fsum(values) / len(values) for q, values in _samples(answers, measure).items()}


def _stability(answers: Iterable[Answer]) -> dict[str, float]:
    """Of the questions with several scored samples, 1 where all get the same verdict, else 0."""
    verdicts = _samples(answers, lambda a: None if a["score"] is None else float(a["score"] >= 0.5))
    return {q: float(len(set(own)) == 1) for q, own in verdicts.items() if len(own) > 1}


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
