"""From completions to rows to train on: revisions, SFT examples, preference pairs. Pure functions.

A revision is left out, with its reason, where it could teach a fault: it is empty, cut at the
limit, says that it is a revision (the "Sure, here is the revised response" leak that the authors of
the first open reproductions report), is a critique, repeats its instructions or a worked example.
One that changes nothing is an example all the same, but no pair.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from storage.ids import content_id
from tasks.generation.calls import Answer, Turn

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
    """A prompt and the response to learn (a row of the SFT snapshot)."""

    prompt_id: str
    completion_id: str
    response: str

    @cached_property
    def example_id(self) -> str:
        return content_id("example", [self.prompt_id, self.response])


@dataclass(frozen=True)
class Pair:
    """A better and a worse response to one prompt (a row of the preferences snapshot)."""

    prompt_id: str
    chosen: Answer
    rejected: Answer
    preference: float = 1.0

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


def faults_of(
    steps: Sequence[Step], shown: frozenset[tuple[str, ...]] = frozenset()
) -> dict[str, str | None]:
    """`fault_of` of every step's revision, by revision id."""
    return {step.revision_id: fault_of(step.revision, shown) for step in steps}


def examples(
    steps: Sequence[Step], final_only: bool, faults: Mapping[str, str | None]
) -> tuple[dict[str, Example], list[Exclusion]]:
    """SFT examples by the revision id they come from, and what was left out.

    All rounds' revisions as in Bai et al. 2022 (section 3.1), or each prompt's last one only.
    """
    last = {step.turn.prompt_id: step.round for step in steps}
    kept: dict[str, Example] = {}
    left_out: list[Exclusion] = []
    for step in steps:
        prompt_id = step.turn.prompt_id
        is_earlier = final_only and step.round < last[prompt_id]
        reason = "earlier_round" if is_earlier else faults[step.revision_id]
        if reason:
            left_out.append(Exclusion(step.revision_id, "examples", reason))
        else:
            response = step.revision.text.strip()
            kept[step.revision_id] = Example(prompt_id, step.revision.completion_id, response)
    return kept, left_out


def pairs(
    drafts: Mapping[str, Answer], steps: Sequence[Step], faults: Mapping[str, str | None]
) -> tuple[dict[str, Pair], list[Exclusion]]:
    """Final revision over draft, by the revision id it comes from, and what was left out."""
    final = {step.turn.prompt_id: step for step in steps}
    kept: dict[str, Pair] = {}
    left_out: list[Exclusion] = []
    for prompt_id, step in final.items():
        draft = drafts[prompt_id]
        reason = (
            faults[step.revision_id]
            or ("empty_draft" if not draft.text.strip() else None)
            or ("unchanged" if is_unchanged(draft, step.revision) else None)
        )
        if reason:
            left_out.append(Exclusion(step.revision_id, "pairs", reason))
        else:
            kept[step.revision_id] = Pair(prompt_id, _stripped(step.revision), _stripped(draft))
    return kept, left_out


def _stripped(answer: Answer) -> Answer:
    return replace(answer, text=answer.text.strip())
