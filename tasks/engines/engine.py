"""Engines answer requests and score texts: one interface, whatever the model and wherever it runs.

An engine has one base model. A request that names an adapter is answered by the base with that
adapter on it. A request goes out as messages, or as raw text for a base model; what comes back is
text. Which rows share a batch changes nothing but speed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

FinishReason = Literal["stop", "length", "too_long"]
Message = Mapping[str, str]


@dataclass(frozen=True)
class Request:
    """One model call. Exactly one of `messages` (role, content) and `text` is given.

    temperature >= 0, 0 is greedy; 0 < top_p <= 1; `seed` 64 bits; `max_new_tokens` >= 1 and the
    same for all requests of a call; a prompt over `max_prompt_tokens` is not generated
    (`too_long`); `adapter`: one of the engine's, None for the base itself.
    """

    messages: Sequence[Message] | None
    text: str | None
    temperature: float
    top_p: float
    stop: tuple[str, ...]
    max_new_tokens: int
    max_prompt_tokens: int
    seed: int
    adapter: str | None = None


@dataclass(frozen=True)
class Continuation:
    """What an assistant said after `messages`, to be scored by the base or one of its adapters.

    `messages`: empty for raw text, outside any conversation; its first token, before which nothing
    stands, is then read and not scored. `context`: raw text that stands before it, of which
    nothing is scored; where it is empty the text begins a document, and is scored whole.
    `is_ended`: the end of the turn was written too, and counts. Log-probabilities are those of
    logits divided by `temperature` (0 counts as 1).
    """

    messages: Sequence[Message]
    text: str
    is_ended: bool
    temperature: float = 1.0
    adapter: str | None = None
    context: str | None = None


@dataclass
class Completion:
    """The answer to request number `index` of the call.

    "stop": the model ended its turn, or wrote a stop string (removed from `text`); "length": cut at
    `max_new_tokens`; "too_long": not generated. `completion_tokens` counts sampled tokens, the one
    that ended the text included, so a completion with reason "stop" fits every limit >=
    `completion_tokens`.
    """

    index: int
    text: str
    finish_reason: FinishReason
    prompt_tokens: int
    completion_tokens: int


@dataclass
class Score:
    """Of continuation number `index`: a reward, or the sum of `logprobs`, a token each, in nats.

    `is_greedy`: whether each of its tokens is a most likely one, so that greedy decoding writes it.
    Minus infinity and no `logprobs`: a server cannot read so much.
    """

    index: int
    value: float
    logprobs: list[float]
    is_greedy: bool = False


Item = TypeVar("Item", Completion, Score)


@dataclass
class Batch(Generic[Item]):
    """Items finished together, in `duration_s` seconds of model time."""

    items: list[Item]
    duration_s: float


class Engine(Protocol):
    """What asks a model. `device` and `dtype` are empty until the model is loaded.

    Every method yields one item for every one it is given, in batches of any order.
    """

    @property
    def name(self) -> str: ...
    @property
    def device(self) -> str: ...
    @property
    def dtype(self) -> str: ...
    @property
    def adapters(self) -> Collection[str]: ...

    def generate(self, requests: Sequence[Request]) -> Iterator[Batch[Completion]]: ...

    def score(self, continuations: Sequence[Continuation]) -> Iterator[Batch[Score]]:
        """Log-probabilities of the texts.

        Options after one prompt are several continuations, `is_ended` false: the prompt is read
        once for all of them, and what all prompts of a call begin with once for the call.
        """
        ...

    def reward(self, continuations: Sequence[Continuation]) -> Iterator[Batch[Score]]:
        """What the scalar head of each one's adapter says of the whole conversation."""
        ...

    def close(self) -> None: ...
