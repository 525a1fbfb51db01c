"""Verdicts of people on two answers, and what several reviewers together say. Pure values.

A verdict is about content: the prompt, both texts, and the words of the principles under which they
were looked at. Whatever rows come and go, it stands where these are the same.

Of several reviewers' verdicts: half of them or more call both bad, and there is no pair; else the
preference is the mean over those who did not (better 1, worse 0, tie 1/2), the majority is chosen,
and where that is even there is no pair either.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Literal, get_args

from storage.ids import content_id, seed_of

Answer = Literal["first", "second", "tie", "both_bad"]
ANSWERS: tuple[Answer, ...] = get_args(Answer)
BOTH_BAD, EVEN = "both_bad", "people_even"  # why there is no pair
FIGURES: dict[Answer, float | None] = {"first": 1.0, "second": 0.0, "tie": 0.5, "both_bad": None}


@dataclass(frozen=True)
class Subject:
    """Two different answers to a prompt, under principles; `first` is the text that sorts first.

    Made by `subject_of`.
    """

    prompt_id: str
    first: str
    second: str
    principle_ids: tuple[str, ...] = ()

    @cached_property
    def subject_id(self) -> str:
        words = [self.prompt_id, self.first, self.second, list(self.principle_ids)]
        return content_id("subject", words)

    @property
    def is_turned(self) -> bool:
        """Whether `second` is shown as A: drawn by content, so that it says nothing."""
        return bool(seed_of(self.subject_id) & 1)

    @property
    def shown(self) -> tuple[str, str]:
        """The texts as A and B."""
        return (self.second, self.first) if self.is_turned else (self.first, self.second)

    def named(self, side: Literal["a", "b"]) -> Answer:
        """Which answer is shown as A or B."""
        return "first" if (side == "a") is not self.is_turned else "second"

    def text(self, answer: Answer) -> str:
        return self.second if answer == "second" else self.first


def subject_of(prompt_id: str, one: str, other: str, principle_ids: Iterable[str]) -> Subject:
    first, second = sorted((one.strip(), other.strip()))
    return Subject(prompt_id, first, second, tuple(sorted(set(principle_ids))))


@dataclass(frozen=True)
class Verdict:
    """What one person said, when (UTC). `edited`: the better answer as they would have it."""

    subject: Subject
    answer: Answer
    author: str
    said_at: datetime
    edited: str | None = None
    note: str = ""

    @cached_property
    def verdict_id(self) -> str:
        said = [self.author, self.answer, self.edited, self.said_at.isoformat()]
        return content_id("verdict", [self.subject.subject_id, *said])

    @property
    def preference(self) -> float | None:
        """Probability in [0, 1] that the first answer is better; None where both are bad."""
        return FIGURES[self.answer]

    def says(self, other: Verdict) -> bool:
        """Whether another one says the same of the same, whenever."""
        mine, theirs = ((v.subject, v.answer, v.author, v.edited) for v in (self, other))
        return mine == theirs


@dataclass(frozen=True)
class Settled:
    """What all reviewers together say of a subject: the newest verdict of each, in order of time.

    preference: as in `Verdict`; None where there is no pair, for this `reason`.
    """

    subject: Subject
    verdicts: tuple[Verdict, ...]
    preference: float | None
    reason: str = ""

    @property
    def authors(self) -> str:
        return ", ".join(verdict.author for verdict in self.verdicts)

    @property
    def better(self) -> Answer:
        """Where there is a preference: the answer that the majority prefers."""
        return "first" if (self.preference or 0.0) > 0.5 else "second"

    @property
    def edited(self) -> str | None:
        """The newest edit of the better answer."""
        own = [v.edited for v in self.verdicts if v.answer == self.better and v.edited]
        return own[-1] if own else None


def settle(verdicts: Sequence[Verdict]) -> Settled:
    """`verdicts`: of one subject, one or more, one a reviewer."""
    ordered = tuple(sorted(verdicts, key=lambda v: (v.said_at, v.verdict_id)))
    subject, given = ordered[0].subject, [v.preference for v in ordered if v.preference is not None]
    if 2 * len(given) <= len(ordered):
        return Settled(subject, ordered, None, BOTH_BAD)
    preference = math.fsum(given) / len(given)
    if preference == 0.5:
        return Settled(subject, ordered, None, EVEN)
    return Settled(subject, ordered, preference)


@dataclass(frozen=True)
class Reviews:
    """Everything that reviewers say, settled: by prompt, then by subject."""

    by_prompt: Mapping[str, Mapping[str, Settled]] = field(default_factory=dict)

    def __contains__(self, prompt_id: object) -> bool:
        return prompt_id in self.by_prompt

    def of(self, subject: Subject) -> Settled | None:
        return self.by_prompt.get(subject.prompt_id, {}).get(subject.subject_id)


def reviews(verdicts: Iterable[Verdict]) -> Reviews:
    """Of the verdicts that count: see `tasks.review.record.standing`."""
    by_prompt: dict[str, dict[str, Settled]] = {}
    for own in by_subject(verdicts).values():
        settled = settle(own)
        found = by_prompt.setdefault(settled.subject.prompt_id, {})
        found[settled.subject.subject_id] = settled
    return Reviews(by_prompt)


def by_subject(verdicts: Iterable[Verdict]) -> dict[str, list[Verdict]]:
    """Verdicts by the id of what they are about."""
    found: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        found.setdefault(verdict.subject.subject_id, []).append(verdict)
    return found
