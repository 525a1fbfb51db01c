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
from tasks.generation.calls import Answer, category_of
from tasks.generation.decisions import Decision
from tasks.generation.labels import Contest, Label
from tasks.hygiene.same import is_unchanged
from tasks.judging.comparisons import Comparison, Judged, preference
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


def case_of(
    judge: Judge, assigner: Assigner, decision: Decision, without: str | None = None
) -> Case:
    """What the judge is asked about a pool; nothing where it has no two answers to compare.

    It is asked by the principles that the pool is about, then by others of the prompt, but not by
    `without`.
    """
    answers, pool = _contestants(decision), decision.pool
    more = assigner.principles(pool.prompt.prompt_id, judge.n_principles, category_of(pool.prompt))
    unique = {p.slug: p for p in (*pool.principles, *more) if p.slug != without}
    met = list(unique.values())[: judge.n_principles]
    asked = {
        (i, j): [Comparison(judge, pool.prompt, p, answers[i], answers[j]) for p in met]
        for i, j in combinations(range(len(answers)), 2)
    }
    return Case(decision, answers, asked)


def _contestants(decision: Decision) -> tuple[Answer, ...]:
    """Answers with different texts: those that may win; of two sides, one that may win and one that
    may lose.
    """
    pool = decision.pool
    winners = [answer for answer in pool.better if decision.may_win(answer)]
    if pool.source == "candidates":
        distinct = {answer.text.strip(): answer for answer in reversed(winners)}
        return tuple(reversed(distinct.values()))
    losers = [answer for answer in pool.worse if answer.completion_id in decision.losers]
    pairs = ((x, y) for x in winners for y in losers if not is_unchanged(y.text, x.text))
    return next(pairs, ())


def opinion(case: Case, judged: Mapping[str, Judged]) -> Contest | None:
    """The pair that the judge prefers, with its figure on every principle; None where it abstains,
    finds all equal, or prefers an answer that must not be learned from.

    Of many answers those farthest apart in strength of which it also said, asked about these two,
    that the stronger one is better.
    """
    found = {pair: preference(asked, judged) for pair, asked in case.questions.items()}
    given = {pair: p for pair, p in found.items() if p is not None}
    strength = strengths(len(case.answers), given)
    groups = ranking(strength, [answer.completion_id for answer in case.answers])
    order = [place for group in groups for place in group]
    apart = sorted(combinations(order, 2), key=lambda p: strength[p[1]] - strength[p[0]])
    for best, worst in apart:
        direct = _of_best(given.get((min(best, worst), max(best, worst))), best < worst)
        if (
            direct is not None
            and direct > 0.5
            and _may_be(case.decision, case.answers, best, worst)
        ):
            many = len(case.answers) > 2
            bradley_terry = 1.0 / (1.0 + math.exp(strength[worst] - strength[best]))
            is_turned = case.decision.pool.source != "candidates" and best > worst
            labels = _labels(case, best, worst, judged)
            sides = case.answers[best], case.answers[worst]
            return Contest(*sides, labels, is_turned, bradley_terry if many else direct)
    return None


def _of_best(figure: float | None, is_first: bool) -> float | None:
    return figure if figure is None or is_first else 1.0 - figure


def _may_be(decision: Decision, answers: Sequence[Answer], best: int, worst: int) -> bool:
    is_loser = answers[worst].completion_id in decision.losers
    return is_loser and decision.may_win(answers[best])


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
