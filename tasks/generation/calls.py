"""Model calls as the ledger knows them: what is asked, of which model, and the id that follows.

Pure functions: no model, no tokenizer, no ledger. The same functions serve a run, which answers the
calls, and a plan, which only counts those that have no answer yet.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

from constitution.schema import Principle
from storage.ids import PREFIXES, canonical_json, content_id
from tasks.chat.think import ALOUD, Thinking
from tasks.prompts import UNSPECIFIED, Prompt

Message = dict[str, str]


@dataclass(frozen=True)
class Sampling:
    """How a step samples, and what of an answer is thought aloud.

    The two limits and `thinking` are no part of a completion's id.
    """

    temperature: float
    top_p: float
    max_new_tokens: int
    max_prompt_tokens: int
    stop: tuple[str, ...] = ()
    thinking: Thinking = ALOUD


@dataclass(frozen=True, slots=True)
class Answer:
    """A call's answer, from the ledger or fresh from the model; `cut_at` as in `completions`.

    `text` is without what was thought aloud, which only the ledger has; where a thought has no end
    there is no text, and it is as if cut ("length").
    """

    completion_id: str
    text: str
    finish_reason: str
    completion_tokens: int
    cut_at: int = 0


def heard(answer: Answer, thinking: Thinking) -> Answer:
    """The answer without its thoughts."""
    text = thinking.answer(answer.text)
    if text is None:
        reason = "length" if answer.finish_reason == "stop" else answer.finish_reason
        return replace(answer, text="", finish_reason=reason)
    return answer if text == answer.text else replace(answer, text=text)


class CallForm:
    """What all calls of a step share: model, worked examples before the request, sampling.

    The examples are hashed once and not for every call; the ids are those of the whole request.
    `same_draws`: models that are asked the same draw with the same random numbers, so that their
    answers differ by the models alone.
    """

    def __init__(
        self,
        step: str,
        model_id: str,
        sampling: Sampling,
        examples: Sequence[Message] = (),
        same_draws: bool = False,
    ) -> None:
        self.step, self.model_id, self.sampling = step, model_id, sampling
        self.of_any_model = CallForm(step, "", sampling, examples) if same_draws else None
        self.examples = tuple(examples)
        self.few_shot_id = content_id("few_shot", list(examples)) if examples else None
        before = b"".join(canonical_json(message) + b"," for message in examples)
        self._hash = hashlib.blake2b(b'{"messages":[' + before, digest_size=16)
        self._after = cache(self._after_messages)

    def call(
        self,
        prompt_id: str,
        messages: tuple[Message, ...],
        round: int | None = None,
        principle_id: str | None = None,
        sample_index: int = 0,
    ) -> Call:
        """The call that asks `messages` after the shared examples, for the sample of that number.

        Its completion_id is the content id of {"messages": all of them, "model", "sample_index",
        "stop", "temperature", "top_p"}. The limit on the answer's length is no part of it: an
        answer that ended by itself serves every limit it fits in; one that was cut serves its own.
        """
        request = canonical_json(messages)
        state = self._hash.copy()
        state.update(request[1:])
        state.update(self._after(sample_index))
        completion_id = f"{PREFIXES['completion']}_{state.hexdigest()}"
        place = round, principle_id, sample_index
        return Call(self, prompt_id, messages, request.decode(), completion_id, *place)

    def _after_messages(self, sample_index: int) -> bytes:
        """What follows the messages in the JSON that is hashed."""
        rest = {
            "model": self.model_id,
            "temperature": self.sampling.temperature,
            "top_p": self.sampling.top_p,
            "stop": list(self.sampling.stop),
            "sample_index": sample_index,
        }
        return b"," + canonical_json(rest)[1:]


@dataclass(frozen=True, slots=True)
class Call:
    """One model call. `request` is its own messages as canonical JSON, the examples left out."""

    form: CallForm
    prompt_id: str
    messages: tuple[Message, ...]
    request: str
    completion_id: str
    round: int | None
    principle_id: str | None
    sample_index: int = 0

    @property
    def draw_id(self) -> str:
        """The id from which the answer is drawn: its own, or that of the request to any model."""
        form = self.form.of_any_model
        if form is None:
            return self.completion_id
        asked = form.call(self.prompt_id, self.messages, sample_index=self.sample_index)
        return asked.completion_id

    @property
    def step(self) -> str:
        return self.form.step

    @property
    def model_id(self) -> str:
        return self.form.model_id

    @property
    def sampling(self) -> Sampling:
        return self.form.sampling

    @property
    def few_shot_id(self) -> str | None:
        """The id of the shared examples; None without any."""
        return self.form.few_shot_id


@dataclass(frozen=True, slots=True)
class Turn:
    """A prompt with its current response: the draft, then each round's revision in its place.

    `principles`: those it meets, by round.
    """

    prompt: Prompt
    answer: Answer
    principles: tuple[Principle, ...]

    @property
    def prompt_id(self) -> str:
        return self.prompt.prompt_id


def principle_id(principle: Principle) -> str:
    """The id of a principle's words: title, weight, tags and place in the order do not count."""
    words = [principle.slug, principle.critique, principle.revision, principle.comparison]
    return content_id("principle", words)


def category_of(prompt: Prompt) -> str | None:
    """The category that decides which principles may be assigned; None for all of them."""
    return None if prompt.category == UNSPECIFIED else prompt.category
