"""Who says that one answer is better: people, a program that checks a rule, a judge, or only its
source.

People outrank programs, and these the judge. What none of them decides has no label: that it came
from a revision or a teacher is a presumption, no evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from typing import Literal

from constitution.checks import complies
from constitution.schema import Principle
from tasks.generation.calls import Answer
from tasks.generation.sources import Pool
from tasks.hygiene.same import is_unchanged

By = Literal["people", "program", "judge"]
# People's verdicts: (prompt's id, better text, worse text) -> the principle's slug, "" for none.
Verdicts = dict[tuple[str, str, str], str]


@dataclass(frozen=True)
class Label:
    """One verdict on a pair: who gave it, on which principle (its slug; "" for the whole), and the
    probability in [0, 1] that the chosen response is the better one.
    """

    by: By
    slug: str
    preference: float
    comparison_id: str | None = None
    verdict_id: str | None = None


@dataclass(frozen=True)
class Ruled:
    """An answer, and which rules it keeps and breaks; those that do not apply are in neither."""

    answer: Answer
    kept: frozenset[str]
    broken: frozenset[str]

    @cached_property
    def length(self) -> int:
        return len(self.answer.text.split())


@dataclass(frozen=True)
class Contest:
    """Two answers of a pool, the better one first, and what says so.

    `preference`: the probability that it is the better one, of all labels together. `is_turned`:
    the labels speak against what the source presumes. `is_edited`: the better one is a text that a
    person wrote.
    """

    chosen: Answer
    rejected: Answer
    labels: tuple[Label, ...]
    is_turned: bool = False
    preference: float = 1.0
    is_edited: bool = False

    @property
    def is_by_program(self) -> bool:
        return any(label.by == "program" for label in self.labels)


def rule(principles: Iterable[Principle], pool: Pool, answer: Answer) -> Ruled:
    """What the programs of the principles say of an answer."""
    prompt = pool.prompt.messages[-1]["content"]
    found = {p.slug: complies(p, prompt, answer.text) for p in principles}
    kept = frozenset(slug for slug, is_kept in found.items() if is_kept is True)
    broken = frozenset(slug for slug, is_kept in found.items() if is_kept is False)
    return Ruled(answer, kept, broken)


def by_program(
    pool: Pool,
    ruled: Sequence[Ruled],
    fault_of: Callable[[Answer], str | None],
    losers: Set[str],
) -> Contest | None:
    """The clearest contest that programs decide: of the pool's principles the better answer keeps
    one that the other breaks, and breaks none that the other keeps. Where there is no such
    and a program checks them all, the same by all rules in force; else None.
    `fault_of`: why an answer may not be the better one; `losers`: ids of those that may be worse.

    Before others go: an answer that breaks none of the pool's rules, then the direction the source
    presumes, then the answer that keeps the most rules of the constitution, then the opponent that
    differs from it the least in its other rules and in length. So a pair teaches its own rule.
    """
    own = frozenset(principle.slug for principle in pool.principles)
    contest = _clearest(pool, ruled, fault_of, losers, own)
    if contest is None and all(principle.check for principle in pool.principles):
        every = frozenset().union(*(r.kept | r.broken for r in ruled))
        contest = _clearest(pool, ruled, fault_of, losers, every)
    return contest


def _clearest(
    pool: Pool,
    ruled: Sequence[Ruled],
    fault_of: Callable[[Answer], str | None],
    losers: Set[str],
    about: Set[str],
) -> Contest | None:
    """The best contest about these rules."""
    better = {answer.completion_id for answer in pool.better}
    worse = {answer.completion_id for answer in pool.worse}

    def is_presumed(x: Ruled, y: Ruled) -> bool:
        return x.answer.completion_id in better and y.answer.completion_id in worse

    def rank(pair: tuple[Ruled, Ruled]) -> tuple[float, ...]:
        x, y = pair
        others = len((x.broken ^ y.broken) - about)
        return (
            len(x.broken & about),
            not is_presumed(x, y),
            len(x.broken) - len(x.kept),
            others,
            abs(x.length - y.length),
        )

    decided = [
        (x, y)
        for x, y in permutations(ruled, 2)
        if y.answer.completion_id in losers and _wins(x, y, about) and not fault_of(x.answer)
    ]
    if not decided:
        return None
    x, y = min(decided, key=rank)
    labels = tuple(Label("program", slug, 1.0) for slug in sorted(x.kept & y.broken & about))
    return Contest(x.answer, y.answer, labels, not is_presumed(x, y))


def _wins(x: Ruled, y: Ruled, about: Set[str]) -> bool:
    return bool(x.kept & y.broken & about) and not (y.kept & x.broken & about)


def by_people(
    pool: Pool, verdicts: Verdicts, fault_of: Callable[[Answer], str | None], losers: Set[str]
) -> Contest | None:
    """Two answers of which people said which is better, the first found whose better one has no
    fault and whose other one may lose.
    """
    for x, y in said_by_people(pool, verdicts):
        if not fault_of(x) and y.completion_id in losers:
            slug = verdicts[_said(pool, x, y)]
            is_turned = x not in pool.better or y not in pool.worse
            return Contest(x, y, (Label("people", slug, 1.0),), is_turned)
    return None


def said_by_people(pool: Pool, verdicts: Verdicts) -> list[tuple[Answer, Answer]]:
    """The answers (better, worse) of a pool that people have a verdict on."""
    return [pair for pair in permutations(pool.answers, 2) if _said(pool, *pair) in verdicts]


def _said(pool: Pool, x: Answer, y: Answer) -> tuple[str, str, str]:
    return pool.prompt.prompt_id, x.text.strip(), y.text.strip()


def presumed(
    pool: Pool, fault_of: Callable[[Answer], str | None], losers: Set[str]
) -> Contest | None:
    """What the source presumes, with no label: the first answers of both sides that may be it and
    that differ.
    """
    if pool.source == "candidates":
        return None
    for x in pool.better:
        for y in pool.worse:
            may_be = y.completion_id in losers and not is_unchanged(y.text, x.text)
            if may_be and not fault_of(x):
                return Contest(x, y, ())
    return None
