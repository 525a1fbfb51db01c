"""The method's data side, one prompt at a time: draft, then (critique, revision) for every round.

`walk` is written once and followed twice: a run answers every call, a plan answers only those the
ledger has and counts the rest. A prompt whose call has no answer waits; what lies behind it is
unknown, and the step is told how many prompts wait. Prompts are walked a window at a time, so that
memory does not grow with their number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

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


# Answers by completion id; a call may be left without one (its prompt then waits).
Answerer = Callable[[Level], dict[str, Answer]]


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
    done.drafts = {turn.prompt_id: turn.answer for turn in turns}
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
    calls = [_call(method, method.critique_form, turn, round, critique_message) for turn in turns]
    critiques = _level(done, "critiques", round, calls, _prompts(turns), answer)

    turns = [turn for turn in turns if turn.prompt_id in critiques]
    calls = [
        _call(
            method, method.revision_form, turn, round, revision_message, critiques[turn.prompt_id]
        )
        for turn in turns
    ]
    revisions = _level(done, "revisions", round, calls, _prompts(turns), answer)

    turns = [turn for turn in turns if turn.prompt_id in revisions]
    for turn in turns:
        principle = method.principle_ids[turn.principles[round].slug]
        critique, revision = critiques[turn.prompt_id], revisions[turn.prompt_id]
        done.steps.append(Step(turn, round, principle, critique, revision))
    return [Turn(turn.prompt, revisions[turn.prompt_id], turn.principles) for turn in turns]


def _call(
    method: Method,
    form: CallForm,
    turn: Turn,
    round: int,
    message: Callable[..., Message],
    *before: Answer,
) -> Call:
    """What is asked about the current response under its principle, `before` it a critique."""
    principle = turn.principles[round]
    texts = (turn.answer.text, *(answer.text for answer in before))
    asked = message(principle, turn.prompt.messages, *texts)
    found = method.principle_ids[principle.slug]
    return form.call(turn.prompt_id, (asked,), round, found)


def _prompts(turns: Sequence[Turn]) -> list[Prompt]:
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
