"""How far reviewers agree, beyond what chance would give. Pure functions over nominal answers.

Cohen's kappa: J. Cohen 1960, Educational and Psychological Measurement 20(1), eq. (1).
Krippendorff's alpha: K. Krippendorff 2004, Content Analysis, ch. 11, nominal data, units that fewer
than two reviewers saw left out.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from tasks.review.verdicts import Verdict, by_subject


@dataclass(frozen=True)
class Agreement:
    """`n`: subjects that two reviewers or more gave an answer on. `share`: of the answers' pairs on
    one subject, those that are equal. `value`: of the `measure`; None where chance explains all.
    """

    reviewers: tuple[str, ...]
    n: int
    share: float | None
    measure: str
    value: float | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def agreement(verdicts: Iterable[Verdict]) -> Agreement:
    """Of the verdicts that count: kappa of two reviewers, alpha of more. Only what is said of the
    two answers counts, not how one was edited.
    """
    units = [[(v.author, v.answer) for v in own] for own in by_subject(verdicts).values()]
    shared = [unit for unit in units if len(unit) > 1]
    names = tuple(sorted({name for unit in shared for name, _ in unit}))
    answers = [[answer for _, answer in sorted(unit)] for unit in shared]
    pairs = [one == other for unit in answers for one, other in combinations(unit, 2)]
    share = sum(pairs) / len(pairs) if pairs else None
    if len(names) > 2:
        return Agreement(names, len(shared), share, "Krippendorff's alpha", alpha(answers))
    return Agreement(names, len(shared), share, "Cohen's kappa", kappa(answers))


def kappa(units: Sequence[Sequence[str]]) -> float | None:
    """Cohen's kappa of units of two answers, each reviewer's always in the same place.

    None without units, and where both only ever gave one and the same answer.
    """
    if not units:
        return None
    observed = sum(one == other for one, other in units) / len(units)
    ones, others = Counter(one for one, _ in units), Counter(other for _, other in units)
    chance = sum(ones[answer] * others[answer] for answer in ones) / len(units) ** 2
    return None if chance == 1 else (observed - chance) / (1 - chance)


def alpha(units: Iterable[Sequence[str]]) -> float | None:
    """Krippendorff's alpha of units of two answers or more, whoever gave them.

    None without units, and where there is only one answer.
    """
    coincidences: defaultdict[tuple[str, str], float] = defaultdict(float)
    for unit in units:
        counts = Counter(unit)
        for one in counts:
            for other in counts:
                pairs = counts[one] * (counts[other] - (one == other))
                coincidences[one, other] += pairs / (len(unit) - 1)
    totals: defaultdict[str, float] = defaultdict(float)
    for (one, _), count in coincidences.items():
        totals[one] += count
    n = sum(totals.values())
    expected = sum(totals[a] * totals[b] for a in totals for b in totals if a != b)
    if not expected:
        return None
    disagreed = sum(count for (a, b), count in coincidences.items() if a != b)
    return 1 - (n - 1) * disagreed / expected
