"""The method's data side, one prompt at a time: draft, then (critique, revision) for every round.

`walk` is written once and followed twice: a run answers every call, a plan answers only those the
ledger has and counts the rest. A prompt whose call has no answer waits; what lies behind it is
unknown, and the step is told how many prompts wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from constitution.schema import Constitution
from tasks.generation.assemble import Exclusion, Step
from tasks.generation.calls import (
    Answer,
    Call,
    Sampling,
    Turn,
    critique_calls,
    draft_calls,
    principle_id,
    principles_of,
    revision_calls,
)
from tasks.prompts import Prompt

LevelStep = Literal["drafts", "critiques", "revisions"]


@dataclass(frozen=True)
class Method:
    """What the data side needs to know: words, model, sampling, number of rounds."""

    constitution: Constitution
    model_id: str
    rounds: int
    draft: Sampling
    critique: Sampling
    revision: Sampling
    system: str = ""


@dataclass(frozen=True)
class Level:
    """One level of the walk: all calls of a step and round, and the prompts that wait before it."""

    step: LevelStep
    round: int | None
    calls: Sequence[Call]
    waiting: Sequence[Prompt]


class Answerer(Protocol):
    def __call__(self, level: Level) -> dict[str, Answer]:
        """Answers by completion id; a call may be left without one (its prompt then waits)."""


@dataclass
class Walk:
    """What came of it. `steps` are in the order of rounds; `waiting` is empty after a run."""

    drafts: dict[str, Answer] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    exclusions: list[Exclusion] = field(default_factory=list)
    waiting: list[Prompt] = field(default_factory=list)


def walk(method: Method, prompts: Sequence[Prompt], answer: Answerer) -> Walk:
    """Take every prompt through drafts and rounds, as far as `answer` answers."""
    done = Walk()
    calls = draft_calls(prompts, method.model_id, method.draft, method.system)
    answers = _level(done, "drafts", None, calls, prompts, answer)
    turns = [
        Turn(prompt, answers[prompt.prompt_id]) for prompt in prompts if prompt.prompt_id in answers
    ]
    done.drafts = {turn.prompt.prompt_id: turn.answer for turn in turns}
    for round in range(method.rounds):
        turns = _round(done, method, turns, round, answer)
    return done


def _round(
    done: Walk, method: Method, turns: list[Turn], round: int, answer: Answerer
) -> list[Turn]:
    """One critique and revision of every current response; returns the turns of the next round."""
    constitution, model_id = method.constitution, method.model_id
    calls = critique_calls(constitution, turns, round, model_id, method.critique)
    critiques = _level(done, "critiques", round, calls, [t.prompt for t in turns], answer)
    turns = [turn for turn in turns if turn.prompt.prompt_id in critiques]

    before = [critiques[turn.prompt.prompt_id] for turn in turns]
    calls = revision_calls(constitution, turns, before, round, model_id, method.revision)
    revisions = _level(done, "revisions", round, calls, [t.prompt for t in turns], answer)
    turns = [turn for turn in turns if turn.prompt.prompt_id in revisions]

    chosen = principles_of(constitution, turns, round)
    for turn in turns:
        prompt_id = turn.prompt.prompt_id
        principle = principle_id(chosen[prompt_id])
        done.steps.append(Step(turn, round, principle, critiques[prompt_id], revisions[prompt_id]))
    return [Turn(turn.prompt, revisions[turn.prompt.prompt_id]) for turn in turns]


def _level(
    done: Walk,
    step: LevelStep,
    round: int | None,
    calls: Sequence[Call],
    prompts: Sequence[Prompt],
    answer: Answerer,
) -> dict[str, Answer]:
    """Answers by prompt id; unanswered prompts are set waiting, those too long are excluded."""
    answers = answer(Level(step, round, calls, list(done.waiting)))
    usable: dict[str, Answer] = {}
    for call, prompt in zip(calls, prompts, strict=True):
        found = answers.get(call.completion_id)
        if found is None:
            done.waiting.append(prompt)
        elif found.finish_reason == "too_long":
            done.exclusions.append(Exclusion(prompt.prompt_id, step, "too_long"))
        else:
            usable[prompt.prompt_id] = found
    return usable
