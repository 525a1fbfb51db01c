"""Rows to train on, and why a revision must not be learned from. Pure functions.

What a fault is, `tasks/hygiene` says. A revision that changes nothing is an example all the same,
but no pair.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from constitution.render import NEW_RESPONSE
from constitution.schema import Principle
from storage.ids import content_id
from tasks.generation.calls import Answer, Turn
from tasks.generation.labels import Label
from tasks.generation.sources import Source
from tasks.hygiene.rows import Phrases, fault, switches_language


@dataclass(frozen=True)
class Step:
    """One critique and revision of one response under one principle."""

    turn: Turn
    round: int
    principle_id: str
    critique: Answer
    revision: Answer

    @property
    def slugs(self) -> list[str]:
        """The principles that had a hand in it: those of its round and of the rounds before."""
        return [principle.slug for principle in self.turn.principles[: self.round + 1]]

    @cached_property
    def revision_id(self) -> str:
        answers = (self.turn.answer, self.critique, self.revision)
        texts = [[answer.completion_id, answer.text] for answer in answers]
        return content_id("revision", [self.turn.prompt_id, self.round, self.principle_id, texts])


@dataclass(frozen=True)
class Exclusion:
    """A row that is not used: which, by which step, why. It may stand for several, `rows`."""

    row_id: str
    step: str
    reason: str
    detail: str = ""
    rows: int = 1


@dataclass(frozen=True)
class Example:
    """A prompt and the response to learn (a row of the SFT snapshot).

    `revision_id`: the revision that it is; None where a teacher's answer is learned.
    `completion_id`: empty for a text that people brought; `cut_at`: which of its texts.
    """

    prompt_id: str
    completion_id: str
    response: str
    source: Source
    revision_id: str | None = None
    cut_at: int | None = None

    @cached_property
    def example_id(self) -> str:
        return content_id("example", [self.prompt_id, self.response])


@dataclass(frozen=True)
class Pair:
    """A better and a worse response to one prompt (a row of the preferences snapshot).

    `preference`: the probability that the chosen one is better. `labels`: what says so.
    """

    prompt_id: str
    chosen: Answer
    rejected: Answer
    source: Source
    preference: float = 1.0
    labels: tuple[Label, ...] = ()
    is_turned: bool = False
    revision_id: str | None = None

    @cached_property
    def pair_id(self) -> str:
        words = [self.prompt_id, self.chosen.text, self.rejected.text, self.preference]
        return content_id("pair", words)


def fault_of(step: Step, shown: Phrases = frozenset()) -> str | None:
    """Why a step's revision must not be learned from, if so; `shown`: the examples' phrases."""
    asked, revision = step.turn.prompt.messages[-1]["content"], step.revision
    told = instructions([step.turn.principles[step.round]])
    before, reason = step.turn.answer.text, revision.finish_reason
    return row_fault(asked, before, revision.text, reason, shown, told)


def row_fault(
    asked: str, before: str, text: str, finish_reason: str, shown: Phrases, told: tuple[str, ...]
) -> str | None:
    """As `tasks.hygiene.rows.fault`, and "language" where that is another."""
    found = fault(asked, before, text, finish_reason, shown, told)
    return found or ("language" if switches_language(asked, before, text) else None)


def instructions(principles: Iterable[Principle]) -> tuple[str, ...]:
    """What a model is told when it revises under these principles."""
    return (*(text for p in principles for text in (p.critique, p.revision)), NEW_RESPONSE)
