"""Model calls as the ledger knows them: what is asked, of which model, and the id that follows.

Pure functions: no model, no tokenizer, no ledger. The same functions serve a run, which answers the
calls, and a plan, which only counts those that have no answer yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from constitution.assign import assign
from constitution.render import (
    critique_messages,
    few_shot_critique,
    few_shot_revision,
    revision_messages,
)
from constitution.schema import Constitution, Principle
from storage.ids import content_id
from tasks.prompts import UNSPECIFIED, Prompt

Message = dict[str, str]


@dataclass(frozen=True)
class Sampling:
    """How a step samples; of this only the two limits are no part of a completion's id."""

    temperature: float
    top_p: float
    max_new_tokens: int
    max_prompt_tokens: int
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """A call's answer, from the ledger or fresh from the model."""

    completion_id: str
    text: str
    finish_reason: str
    completion_tokens: int


@dataclass(frozen=True)
class Call:
    """One model call: the whole request, of which the first `few_shot` messages are shared."""

    step: str
    model_id: str
    prompt_id: str
    messages: tuple[Message, ...]
    sampling: Sampling
    few_shot: int = 0
    round: int | None = None
    principle_id: str | None = None
    sample_index: int = 0

    @cached_property
    def completion_id(self) -> str:
        """The id of the answer: of model, messages and sampling, without the limit on its length.

        An answer that ended by itself serves every limit it fits in; one that was cut serves its
        own.
        """
        return content_id(
            "completion",
            {
                "model": self.model_id,
                "messages": list(self.messages),
                "temperature": self.sampling.temperature,
                "top_p": self.sampling.top_p,
                "stop": list(self.sampling.stop),
                "sample_index": self.sample_index,
            },
        )

    @property
    def few_shot_id(self) -> str | None:
        """The id of the shared examples; None without any."""
        if not self.few_shot:
            return None
        return content_id("few_shot", list(self.messages[: self.few_shot]))


@dataclass(frozen=True)
class Turn:
    """A prompt with its current response: the draft, then each round's revision in its place."""

    prompt: Prompt
    answer: Answer


def principle_id(principle: Principle) -> str:
    """The id of a principle's words: title, weight, tags and place in the order do not count."""
    words = [principle.slug, principle.critique, principle.revision, principle.comparison]
    return content_id("principle", words)


def draft_calls(
    prompts: Iterable[Prompt], model_id: str, sampling: Sampling, system: str = ""
) -> list[Call]:
    """One call a prompt: the conversation, after `system` unless it has a system message itself."""
    before: tuple[Message, ...] = ({"role": "system", "content": system},) if system else ()
    return [
        Call(
            "draft",
            model_id,
            prompt.prompt_id,
            (*(before if prompt.messages[0]["role"] != "system" else ()), *prompt.messages),
            sampling,
        )
        for prompt in prompts
    ]


def category_of(prompt: Prompt) -> str | None:
    """The category that decides which principles may be assigned; None for all of them."""
    return None if prompt.category == UNSPECIFIED else prompt.category


def principles_of(
    constitution: Constitution, turns: Sequence[Turn], round: int
) -> dict[str, Principle]:
    """The principle each prompt gets in this round, by prompt id."""
    return {
        turn.prompt.prompt_id: assign(
            constitution, turn.prompt.prompt_id, round, category_of(turn.prompt)
        )
        for turn in turns
    }


def critique_calls(
    constitution: Constitution,
    turns: Sequence[Turn],
    round: int,
    model_id: str,
    sampling: Sampling,
) -> list[Call]:
    """One call a turn: say what is wrong with the current response under its principle."""
    shared = len(few_shot_critique(constitution))
    chosen = principles_of(constitution, turns, round)
    calls = []
    for turn in turns:
        principle = chosen[turn.prompt.prompt_id]
        messages = critique_messages(
            constitution, principle, list(turn.prompt.messages), turn.answer.text
        )
        calls.append(
            _reviewing("critique", turn, round, principle, messages, shared, model_id, sampling)
        )
    return calls


def revision_calls(
    constitution: Constitution,
    turns: Sequence[Turn],
    critiques: Sequence[Answer],
    round: int,
    model_id: str,
    sampling: Sampling,
) -> list[Call]:
    """One call a turn, in the order of `critiques`: rewrite the response in its light."""
    shared = len(few_shot_revision(constitution))
    chosen = principles_of(constitution, turns, round)
    calls = []
    for turn, critique in zip(turns, critiques, strict=True):
        principle = chosen[turn.prompt.prompt_id]
        messages = revision_messages(
            constitution, principle, list(turn.prompt.messages), turn.answer.text, critique.text
        )
        calls.append(
            _reviewing("revision", turn, round, principle, messages, shared, model_id, sampling)
        )
    return calls


def _reviewing(
    step: str,
    turn: Turn,
    round: int,
    principle: Principle,
    messages: list[Message],
    shared: int,
    model_id: str,
    sampling: Sampling,
) -> Call:
    return Call(
        step,
        model_id,
        turn.prompt.prompt_id,
        tuple(messages),
        sampling,
        few_shot=shared,
        round=round,
        principle_id=principle_id(principle),
    )
