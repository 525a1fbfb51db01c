"""Question by question: what moved most between the base and what was trained, and by what rule."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from constitution.checks import complies
from constitution.schema import Principle
from flows.explain.run_report.facts import Given, Moved
from tasks.evaluation.rows import BASE, HELD_OUT

Row = Mapping[str, Any]
JUDGED = ("dpo", "ppo")  # whose gains and regressions are shown, and SFT's where there is neither
SHOWN = 3  # gains, and regressions, of held-out prompts
SHOWN_OF_PROBES = 2
MADE = ("stop", "length")


@dataclass(frozen=True)
class Answer:
    """A row of answers.jsonl. `score`: in [0, 1], None where not known; `kept`: rules by slug."""

    row: Row
    score: float | None
    kept: Mapping[str, bool]

    @property
    def probe(self) -> str:
        return str(self.row["probe"])


@dataclass(frozen=True)
class Question:
    """A question and its answers by policy, sample by sample."""

    id: str
    answers: Mapping[str, Sequence[Answer]]

    @property
    def first(self) -> Answer:
        return next(iter(self.answers.values()))[0]

    def score(self, policy: str) -> float | None:
        return _mean(a.score for a in self.answers.get(policy, ()) if a.score is not None)

    def gain(self, policy: str) -> float | None:
        """By how much a policy's answers score above the base's."""
        own, base = self.score(policy), self.score(BASE)
        return None if own is None or base is None else own - base

    def kept(self, policy: str) -> dict[str, float]:
        """The share of a policy's answers that keep each rule."""
        own = self.answers.get(policy, ())
        slugs = dict.fromkeys(slug for answer in own for slug in answer.kept)
        return {slug: _mean(a.kept[slug] for a in own if slug in a.kept) or 0.0 for slug in slugs}


def _mean(values: Iterable[float]) -> float | None:
    found = list(values)
    return sum(found) / len(found) if found else None


def questions(rows: Iterable[Row], principles: Sequence[Principle]) -> list[Question]:
    """Every question that was answered; rules are those of enabled principles with a check."""
    checked = [p for p in principles if p.enabled and p.check is not None]
    found: dict[str, dict[str, list[Answer]]] = {}
    for row in rows:
        if row["finish_reason"] in MADE:
            answers = found.setdefault(row["question_id"], {})
            answers.setdefault(row["policy"], []).append(_answer(row, checked))
    return [Question(question_id, answers) for question_id, answers in found.items()]


def _answer(row: Row, checked: Sequence[Principle]) -> Answer:
    if row["probe"] != HELD_OUT:
        return Answer(row, row["score"], {})
    told = {p.slug: complies(p, row["prompt"], row["text"]) for p in checked}
    kept = {slug: is_kept for slug, is_kept in told.items() if is_kept is not None}
    return Answer(row, _mean(map(float, kept.values())), kept)


def equal(found: Sequence[Question], policies: Iterable[str]) -> tuple[str, ...]:
    """The policies that answer every question word for word as the base does."""

    def texts(policy: str) -> list[list[str]]:
        return [[a.row["text"] for a in q.answers.get(policy, ())] for q in found]

    theirs = texts(BASE)
    named = (policy for policy in policies if policy != BASE)
    return tuple(p for p in named if found and any(theirs) and texts(p) == theirs)


def extremes(found: Sequence[Question], sign: int) -> tuple[Moved, ...]:
    """The largest gains (sign 1) or worst regressions (-1), held-out prompts first."""
    moves = sorted(_moves(found, sign), key=lambda move: (-sign * move.by, move.prompt_id))
    own = [move for move in moves if move.probe == HELD_OUT][:SHOWN]
    return (*own, *[move for move in moves if move.probe != HELD_OUT][:SHOWN_OF_PROBES])


def _moves(found: Sequence[Question], sign: int) -> Iterator[Moved]:
    for question in found:
        policies = [p for p in JUDGED if p in question.answers] or ["sft"]
        gains = {p: gain for p in policies if (gain := question.gain(p)) is not None}
        if gains:
            policy = max(gains, key=lambda name: sign * gains[name])
            if sign * gains[policy] > 0:
                names = [BASE, *policies]
                yield _moved(question, policy, gains[policy], _because(question, policy), names)


def shown(found: Sequence[Question], count: int) -> tuple[Moved, ...]:
    """Held-out prompts by the hash of their ids, so that nobody picked them: every answer."""
    own = [question for question in found if question.first.probe == HELD_OUT]
    chosen = sorted(own, key=lambda question: hashlib.blake2b(question.id.encode()).digest())
    return tuple(_moved(q, "", 0.0, "", list(q.answers)) for q in chosen[:count])


def _moved(question: Question, policy: str, by: float, because: str, names: Iterable[str]) -> Moved:
    row = question.first.row
    given = tuple(_given(question, name) for name in names if name in question.answers)
    words = str(row["prompt"]), question.first.probe, str(row["category"]), str(row["prompt_id"])
    return Moved(*words, policy, by, because, given)


def _given(question: Question, policy: str) -> Given:
    """Of several answers the one whose score is nearest their mean, the first of these."""
    row, own = _typical(question, policy), question.answers[policy]
    return Given(policy, row["text"], question.score(policy), row["finish_reason"], len(own))


def _typical(question: Question, policy: str) -> Row:
    mean = question.score(policy) or 0.0
    return min(question.answers[policy], key=lambda a: abs((a.score or 0.0) - mean)).row


def _because(question: Question, policy: str) -> str:
    """The principles that moved, or the scorer's own words."""
    if question.first.probe != HELD_OUT:
        reasons = {p: _typical(question, p)["reason"] for p in (BASE, policy)}
        return "; ".join(f"{name}: {reason}" for name, reason in reasons.items() if reason)
    before, now = question.kept(BASE), question.kept(policy)
    moved = {slug: now.get(slug, share) - share for slug, share in before.items()}
    kept, broken = _named(moved, 1), _named(moved, -1)
    parts = [f"keeps {kept}" if kept else "", f"breaks {broken}" if broken else ""]
    return ", and ".join(part for part in parts if part)


def _named(moved: Mapping[str, float], sign: int) -> str:
    return ", ".join(slug for slug, by in moved.items() if sign * by > 0)
