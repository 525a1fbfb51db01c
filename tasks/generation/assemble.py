"""Rows to train on, and what must not be learned from. Pure functions.

A revision is left out, with its reason, where it could teach a fault: it is empty, cut at the
limit, says that it is a revision (the "Sure, here is the revised response" leak that the authors of
the first open reproductions report), is a critique, repeats its instructions or a worked example.
One that changes nothing is an example all the same, but no pair.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from storage.ids import content_id
from tasks.generation.calls import Answer, Turn
from tasks.generation.labels import Label
from tasks.generation.sources import Source

PREAMBLE = re.compile(
    r"^\W*(sure|certainly|of course|absolutely|okay|ok|yes|here|below|this is|the following)\b"
    r"[^\n]{0,100}\b(revis\w*|rewrit\w*|rewrote|improved|updated|edited|corrected|new)\b",
    re.IGNORECASE,
)
LABEL = re.compile(
    r"^\W*((revised|new|improved|rewritten|updated|final|better)\s+"
    r"(response|answer|version|reply|text)|revision|critique|feedback)\W*:",
    re.IGNORECASE,
)
CRITIQUE = re.compile(
    r"^\W*(the|this)\s+(user|response|answer|assistant|reply|statement)('s)?\s+"
    r"(is|was|does|did|should|could|asks?|asked|wants?|needs?|lacks?|fails?|provides?|contains?|seems?)\b",
    re.IGNORECASE,
)
INSTRUCTIONS = re.compile(
    r"\b(critique request|revision request|write only the new response|"
    r"the (original|first|revised) response)\b",
    re.IGNORECASE,
)
COPIED_WORDS = 7


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
    """A row that is not used: which, by which step, why."""

    row_id: str
    step: str
    reason: str
    detail: str = ""


@dataclass(frozen=True)
class Example:
    """A prompt and the response to learn (a row of the SFT snapshot).

    `revision_id`: the revision that it is; None where a teacher's answer is learned.
    """

    prompt_id: str
    completion_id: str
    response: str
    source: Source
    revision_id: str | None = None

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


def phrases(texts: Iterable[str]) -> frozenset[tuple[str, ...]]:
    """Every run of seven words in the texts: what a revision must not have copied from examples."""
    return frozenset(phrase for text in texts for phrase in _phrases(text))


def _phrases(text: str) -> Iterator[tuple[str, ...]]:
    words = _words(text)
    return (tuple(words[i : i + COPIED_WORDS]) for i in range(len(words) - COPIED_WORDS + 1))


def fault_of(revision: Answer, shown: frozenset[tuple[str, ...]] = frozenset()) -> str | None:
    """Why a revision must not be learned from, if so; `shown`: the worked examples' phrases."""
    text = revision.text.strip()
    if revision.finish_reason == "too_long":
        return "too_long"
    if not text:
        return "empty"
    if revision.finish_reason == "length":
        return "truncated"
    if PREAMBLE.search(text) or LABEL.search(text):
        return "preamble"
    if CRITIQUE.search(text):
        return "critique"
    if INSTRUCTIONS.search(text):
        return "instructions"
    if shown and not shown.isdisjoint(_phrases(text)):
        return "copied_example"
    return None


def is_unchanged(before: Answer, after: Answer) -> bool:
    """Whether two responses say the same but for case, punctuation and spaces."""
    return _words(before.text) == _words(after.text)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())
