"""From completions to rows to train on: revisions, SFT examples, preference pairs. Pure functions.

A revision is left out, with its reason, where it could teach a fault: it is empty, cut at the
limit, says that it is a revision (the "Sure, here is the revised response" leak that the authors of
the first open reproductions report), is a critique, repeats its instructions or a worked example,
or goes round in a loop; `tasks/hygiene/` tells. One that changes nothing is an example all the
same, but no pair.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from constitution.render import NEW_RESPONSE
from storage.ids import content_id
from tasks.generation.calls import Answer, Turn
from tasks.hygiene.rows import Phrases, fault
from tasks.hygiene.same import is_unchanged


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


def fault_of(step: Step, shown: Phrases = frozenset()) -> str | None:
    """Why a step's revision must not be learned from, if so; `shown`: the examples' phrases."""
    principle, revision = step.turn.principles[step.round], step.revision
    asked = str(step.turn.prompt.messages[-1]["content"])
    told = (principle.critique, principle.revision, NEW_RESPONSE)
    return fault(asked, step.turn.answer.text, revision.text, revision.finish_reason, shown, told)


def faults_of(steps: Sequence[Step], shown: Phrases = frozenset()) -> dict[str, str | None]:
    """`fault_of` every step, by revision id."""
    return {step.revision_id: fault_of(step, shown) for step in steps}


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
            or ("unchanged" if is_unchanged(draft.text, step.revision.text) else None)
        )
        if reason:
            left_out.append(Exclusion(step.revision_id, "pairs", reason))
        else:
            kept[step.revision_id] = Pair(prompt_id, _stripped(step.revision), _stripped(draft))
    return kept, left_out


def _stripped(answer: Answer) -> Answer:
    return replace(answer, text=answer.text.strip())
