"""The method's data side, one prompt at a time: draft, then (critique, revision) for every round.

`walk` is written once and followed twice: a run answers every call, a plan answers only those the
ledger has and counts the rest. A prompt whose call has no answer waits; what lies behind it is
unknown, and the step is told how many prompts wait. Prompts are walked a window at a time, so that
memory does not grow with their number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, Protocol

from constitution.assign import Assigner
from constitution.render import (
    critique_message,
    few_shot_critique,
    few_shot_revision,
    revision_message,
)
from constitution.schema import Constitution, Principle
from tasks.generation.assemble import Exclusion, Step
from tasks.generation.calls import (
    Answer,
    Call,
    CallForm,
    Message,
    Sampling,
    Turn,
    category_of,
    principle_id,
)
from tasks.prompts import Prompt

WINDOW = 8192  # prompts walked together

LevelStep = Literal["drafts", "critiques", "revisions"]


@dataclass(frozen=True)
class Method:
    """What the data side needs to know: words, model, sampling, number of rounds.

    `kept_as`: the id under which a principle's rows are kept, by its own id, where that is another:
    one with the same words for critique and revision was there first.
    """

    constitution: Constitution
    model_id: str
    rounds: int
    draft: Sampling
    critique: Sampling
    revision: Sampling
    system: str = ""
    kept_as: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def draft_form(self) -> CallForm:
        return CallForm("draft", self.model_id, self.draft)

    @cached_property
    def critique_form(self) -> CallForm:
        examples = few_shot_critique(self.constitution)
        return CallForm("critique", self.model_id, self.critique, examples)

    @cached_property
    def revision_form(self) -> CallForm:
        examples = few_shot_revision(self.constitution)
        return CallForm("revision", self.model_id, self.revision, examples)

    @cached_property
    def principle_ids(self) -> dict[str, str]:
        """The ids of the words that requests show, by slug.

        What a principle is compared by is not among them: changing that makes no row another's.
        """
        own = {p.slug: principle_id(p) for p in self.constitution.principles}
        return {slug: self.kept_as.get(found, found) for slug, found in own.items()}

    @cached_property
    def _assigner(self) -> Assigner:
        return Assigner(self.constitution)

    def principles(self, prompt: Prompt) -> tuple[Principle, ...]:
        """The principle a prompt meets in each round."""
        return self._assigner.principles(prompt.prompt_id, self.rounds, category_of(prompt))


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


def windows(prompts: Sequence[Prompt], size: int = WINDOW) -> Iterator[Sequence[Prompt]]:
    """The prompts in order, at most `size` at a time."""
    for first in range(0, len(prompts), size):
        yield prompts[first : first + size]


def walk(method: Method, prompts: Sequence[Prompt], answer: Answerer) -> Walk:
    """Take every prompt through drafts and rounds, as far as `answer` answers."""
    done = Walk()
    calls = [_draft_call(method, prompt) for prompt in prompts]
    answers = _level(done, "drafts", None, calls, prompts, answer)
    turns = [
        Turn(prompt, answers[prompt.prompt_id], method.principles(prompt))
        for prompt in prompts
        if prompt.prompt_id in answers
    ]
    done.drafts = {turn.prompt.prompt_id: turn.answer for turn in turns}
    for round in range(method.rounds):
        turns = _round(done, method, turns, round, answer)
    return done


def _draft_call(method: Method, prompt: Prompt) -> Call:
    """The conversation, after the method's system message unless it has one itself."""
    before: tuple[Message, ...] = ()
    if method.system and prompt.messages[0]["role"] != "system":
        before = ({"role": "system", "content": method.system},)
    return method.draft_form.call(prompt.prompt_id, (*before, *prompt.messages))


def _round(
    done: Walk, method: Method, turns: list[Turn], round: int, answer: Answerer
) -> list[Turn]:
    """One critique and revision of every current response; returns the turns of the next round."""
    calls = [_critique_call(method, turn, round) for turn in turns]
    critiques = _level(done, "critiques", round, calls, _prompts(turns), answer)
    turns = [turn for turn in turns if turn.prompt.prompt_id in critiques]

    calls = [
        _revision_call(method, turn, critiques[turn.prompt.prompt_id], round) for turn in turns
    ]
    revisions = _level(done, "revisions", round, calls, _prompts(turns), answer)
    turns = [turn for turn in turns if turn.prompt.prompt_id in revisions]

    for turn in turns:
        prompt_id = turn.prompt.prompt_id
        principle = method.principle_ids[turn.principles[round].slug]
        done.steps.append(Step(turn, round, principle, critiques[prompt_id], revisions[prompt_id]))
    return [Turn(t.prompt, revisions[t.prompt.prompt_id], t.principles) for t in turns]


def _critique_call(method: Method, turn: Turn, round: int) -> Call:
    """Say what is wrong with the current response under its principle."""
    principle = turn.principles[round]
    message = critique_message(principle, turn.prompt.messages, turn.answer.text)
    found = method.principle_ids[principle.slug]
    return method.critique_form.call(turn.prompt.prompt_id, (message,), round, found)


def _revision_call(method: Method, turn: Turn, critique: Answer, round: int) -> Call:
    """Rewrite the response in the light of its critique."""
    principle = turn.principles[round]
    message = revision_message(principle, turn.prompt.messages, turn.answer.text, critique.text)
    found = method.principle_ids[principle.slug]
    return method.revision_form.call(turn.prompt.prompt_id, (message,), round, found)


def _prompts(turns: Iterable[Turn]) -> list[Prompt]:
    return [turn.prompt for turn in turns]


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
