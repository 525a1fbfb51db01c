"""How often answers keep the principles that a program can check, as measures of an answer.

| metric | of one answer |
|---|---|
| rule:<slug> | keeps the principle's check (1) or not (0); see constitution/checks.py |
| rules | share of the checks that apply to it which it keeps |

Only enabled principles count. Prompts too long to be answered, and answers to which no check
applies, do not: `n` says how many did. An answer that was cut counts as it stands.
"""

from __future__ import annotations

import math
from functools import partial

from constitution.checks import complies
from constitution.schema import Constitution, Principle
from tasks.evaluation.metrics import Answer, Measure


def rules(constitution: Constitution) -> dict[str, Measure]:
    """The measures by name; none where no enabled principle has a check.

    Their intervals are Wilson's over answers; for `rules`, whose values lie between 0 and 1, it is
    if anything too wide.
    """
    checked = [principle for principle in constitution.enabled if principle.check is not None]
    measures: dict[str, Measure] = {f"rule:{p.slug}": partial(_kept, p) for p in checked}
    return measures | ({"rules": partial(_share, checked)} if checked else {})


def _kept(principle: Principle, answer: Answer) -> float | None:
    kept = complies(principle, answer["prompt"], answer["text"])
    return None if kept is None else float(kept)


def _share(checked: list[Principle], answer: Answer) -> float | None:
    values = [kept for p in checked if (kept := _kept(p, answer)) is not None]
    return math.fsum(values) / len(values) if values else None
