"""What a judge thinks of the answers that no program could tell apart: one pair a pool, or none.

Of several answers of one model every two are compared, and those of the greatest and the least
Bradley-Terry strength make the pair (see strengths.py). Of other sources one answer presumed to be
better is compared with one presumed to be worse.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from constitution.assign import Assigner
from tasks.generation.calls import Answer
from tasks.generation.choose import Decision
from tasks.generation.labels import Contest, Label
from tasks.judging.comparisons import Comparison, Judged, preference, questions
from tasks.judging.figures import settle
from tasks.judging.judge import Judge
from tasks.judging.strengths import ranking, strengths


@dataclass(frozen=True)
class Case:
    """A pool before the judge: its contestants, and the questions about every two of them."""

    decision: Decision
    answers: tuple[Answer, ...]
    questions: Mapping[tuple[int, int], Sequence[Comparison]]

    @property
    def comparisons(self) -> list[Comparison]:
        return [question for asked in self.questions.values() for question in asked]


def case_of(judge: Judge, assigner: Assigner, decision: Decision) -> Case:
    """What the judge is asked about a pool; nothing where it has no two answers to compare."""
    answers = _contestants(decision)
    prompt = decision.pool.prompt
    asked = {
        (i, j): questions(judge, assigner, prompt, answers[i], answers[j])
        for i, j in combinations(range(len(answers)), 2)
    }
    return Case(decision, answers, asked)


def _contestants(decision: Decision) -> tuple[Answer, ...]:
    """Answers with different texts: those that may win, of a presumed loser one that may lose."""
    pool, losers = decision.pool, decision.losers
    winners = [a for a in pool.better if decision.may_win(a)]
    if pool.source != "candidates":
        others = [a for a in pool.worse if a.completion_id in losers]
        winners = [*winners[:1], *others[:1]]
    distinct = {answer.text.strip(): answer for answer in reversed(winners)}
    return tuple(reversed(distinct.values()))


def opinion(case: Case, judged: Mapping[str, Judged]) -> Contest | None:
    """The pair that the judge prefers, with its figure on every principle; None where it abstains,
    finds both equal, or prefers an answer that must not be learned from.
    """
    found = {pair: preference(asked, judged) for pair, asked in case.questions.items()}
    given = {pair: p for pair, p in found.items() if p is not None}
    if not given:
        return None
    strength = strengths(len(case.answers), given)
    groups = ranking(strength, [answer.completion_id for answer in case.answers])
    if len(groups) < 2:
        return None
    best, worst = groups[0][0], groups[-1][0]
    chosen, rejected = case.answers[best], case.answers[worst]
    decision = case.decision
    if not decision.may_win(chosen) or rejected.completion_id not in decision.losers:
        return None
    figure = given.get((min(best, worst), max(best, worst)))
    if len(case.answers) > 2 or figure is None:
        figure = 1.0 / (1.0 + math.exp(strength[worst] - strength[best]))
    else:
        figure = figure if best < worst else 1.0 - figure
    labels = _labels(case, best, worst, judged)
    is_turned = decision.pool.source != "candidates" and best > worst
    return Contest(chosen, rejected, labels, is_turned, figure) if labels else None


def _labels(case: Case, best: int, worst: int, judged: Mapping[str, Judged]) -> tuple[Label, ...]:
    """The judge's figure on each principle by which the two were compared."""
    found = []
    for question in case.questions[min(best, worst), max(best, worst)]:
        judge = question.judge
        orders = judged[question.comparison_id].of(question)
        settled = settle(orders, judge.limits, judge.abstain)
        if settled is not None:
            of_best = settled if best < worst else 1.0 - settled
            slug = question.principle.slug
            found.append(Label("judge", slug, of_best, question.comparison_id))
    return tuple(found)


def opinions(cases: Sequence[Case], judged: Mapping[str, Judged]) -> dict[str, Contest]:
    """The pairs that the judge prefers, by the row ids of their pools."""
    found = {case.decision.pool.row_id: opinion(case, judged) for case in cases}
    return {row_id: contest for row_id, contest in found.items() if contest}
