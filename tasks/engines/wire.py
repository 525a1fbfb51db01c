"""What goes to an OpenAI-compatible server and what comes back: pure, no connection.

Seeds go out as their low 31 bits, which every server takes. A server that does not count its tokens
is taken to have used all it might.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.chat.calls import with_calls
from tasks.engines.engine import Completion, Continuation, FinishReason, Request, Score

Json = dict[str, Any]
SEEDS = 1 << 31
# A filtered answer is a cut one; a call of a tool, of which none is offered, is an end.
REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "eos_token": "stop",
    "stop_sequence": "stop",
    "tool_calls": "stop",
    "function_call": "stop",
    "length": "length",
    "content_filter": "length",
}
TOO_LONG = re.compile(
    r"context.?(length|window|size)|max(imum)?.(model|input|prompt|context).?(len|length|tokens)"
    r"|(prompt|input|messages|request)\b.{0,40}\btoo (long|large)",
    re.IGNORECASE,
)


class Broken(Exception):
    """No answer, or a part of one: worth asking again."""


class Stopped(Exception):
    """Not asked again, as the call ends for another reason."""


class OtherModel(Broken):
    """An answer by another model than the one that was asked."""


class Busy(Exception):
    """The server asks to wait: so many seconds, or as long as seems right (None)."""

    def __init__(self, wait_s: float | None, reason: str) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class Refused(Exception):
    """The server will never answer this: an HTTP status, and what it said."""

    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(f"{status}: {message}" if message else str(status))
        self.status, self.message, self.code = status, message, code

    @property
    def is_too_long(self) -> bool:
        """Whether prompt and answer do not fit what the model can read."""
        if self.status not in (400, 413, 422):
            return False
        is_named = self.code == "context_length_exceeded" or self.status == 413
        return is_named or TOO_LONG.search(self.message) is not None

    @property
    def is_filtered(self) -> bool:
        """Whether the server will not have its model answer such a prompt."""
        return self.status == 400 and self.code == "content_filter"


@dataclass(frozen=True)
class Abilities:
    """What a server can do.

    seeds: repeats a draw. top_logprobs: how many of the likeliest tokens it tells, 0 for none.
    echo: `max_tokens` with which it gives log-probabilities of a raw text; None where it cannot.
    limit: its name for the longest answer.
    """

    seeds: bool = True
    top_logprobs: int = 0
    echo: int | None = None
    limit: str = "max_tokens"

    def both(self, other: Abilities) -> Abilities:
        """What two servers can do alike."""
        return Abilities(
            self.seeds and other.seeds,
            min(self.top_logprobs, other.top_logprobs),
            self.echo if self.echo == other.echo else None,
            self.limit,
        )


def generation(request: Request, model: str, can: Abilities) -> tuple[str, Json]:
    """(path, body) of a request."""
    body: Json = {
        "model": model,
        "temperature": request.temperature,
        "top_p": request.top_p,
        can.limit: request.max_new_tokens,
    }
    if stop := [text for text in request.stop if text]:
        body["stop"] = stop
    if can.seeds:
        body["seed"] = request.seed % SEEDS
    if request.messages is None:
        return "/completions", body | {"prompt": request.text, "max_tokens": request.max_new_tokens}
    return "/chat/completions", body | {"messages": with_calls(request.messages, as_text=True)}


def completion(index: int, request: Request, body: Json) -> Completion:
    """The answer to a request. Raises Broken where it is half of one."""
    choice = choice_of(body)
    reason = REASONS.get(str(choice.get("finish_reason")))
    if reason is None:
        raise Broken(f"an answer that ends with {choice.get('finish_reason')!r}")
    text = choice.get("text") if request.messages is None else _content(choice)
    ends = [place for stop in filter(None, request.stop) if (place := _find(text, stop)) >= 0]
    usage = body.get("usage") or {}
    prompt = _count(usage, "prompt_tokens", 0)
    if prompt > request.max_prompt_tokens:
        return Completion(index, "", "too_long", prompt, 0)
    limit = request.max_new_tokens
    written = min(limit, _count(usage, "completion_tokens", limit))
    whole = str(text or "")
    return Completion(index, whole[: min(ends)] if ends else whole, reason, prompt, written)


def refused(index: int, request: Request, error: Refused) -> Completion | None:
    """What a refusal means for one request; None where it is no matter of the request."""
    if error.is_too_long:  # by how much is not said
        return Completion(index, "", "too_long", request.max_prompt_tokens + 1, 0)
    if error.is_filtered:
        return Completion(index, "", "length", 0, request.max_new_tokens)
    return None


def options(asked: Continuation, model: str, can: Abilities) -> tuple[str, Json]:
    """(path, body) that asks for the likeliest first tokens of an answer."""
    body: Json = {
        "model": model,
        "messages": with_calls(asked.messages, as_text=True),
        "temperature": 1.0,
        "logprobs": True,
        "top_logprobs": can.top_logprobs,
        can.limit: 1,
    }
    return "/chat/completions", body


def option_scores(asked: Sequence[tuple[int, Continuation]], body: Json) -> list[Score]:
    """Log-probabilities of one-token options after one prompt.

    An option that is not among the likeliest gets the most it can have, and so do all of them
    where none is: then they are equal.
    """
    told = likeliest(body)
    if not told:
        raise Broken("an answer without log-probabilities")
    rest = 1.0 - sum(math.exp(value) for value in told.values())
    most = min(min(told.values()), math.log(max(rest, 1e-30)))
    values = [told.get(continuation.text, most) for _, continuation in asked]
    return [Score(index, value, [value]) for (index, _), value in zip(asked, values, strict=True)]


def likeliest(body: Json) -> dict[str, float]:
    """Log-probabilities (nats) of an answer's first token and those that stood beside it."""
    content = ((choice_of(body).get("logprobs") or {}).get("content") or [{}])[0]
    told: dict[str, float] = {}
    for token in [*(content.get("top_logprobs") or ()), content]:
        value = token.get("logprob")
        if isinstance(value, int | float) and math.isfinite(value):
            told.setdefault(str(token.get("token")), min(float(value), 0.0))
    return told


def echo(text: str, model: str, can: Abilities) -> tuple[str, Json]:
    """(path, body) that asks for the log-probabilities of a raw text."""
    body = {"model": model, "prompt": text, "echo": True, "logprobs": 1, "max_tokens": can.echo}
    return "/completions", body | {"temperature": 0.0}


def echo_score(index: int, text: str, body: Json) -> Score:
    """Log-probabilities of a raw text's tokens but the first."""
    told = choice_of(body).get("logprobs") or {}
    values, tokens = told.get("token_logprobs") or [], told.get("tokens") or []
    starts = told.get("text_offset") or _starts(tokens)
    if len(values) < 2 or len(starts) != len(values):
        raise Broken("an answer without the log-probabilities of the text")
    own = [value for value, start in zip(values, starts, strict=True) if start < len(text)][1:]
    if not all(isinstance(value, int | float) for value in own):
        raise Broken("an answer without some of the log-probabilities")
    return Score(index, float(sum(own)), [float(value) for value in own])


def check_model(body: Json, model: str) -> None:
    """Raise OtherModel where another model than `model` says that it answered. A server may name
    the revision too (`transformers serve`: NAME@main).
    """
    answered = body.get("model")
    if answered is not None and model not in (answered, str(answered).rpartition("@")[0]):
        raise OtherModel(f"{answered!r} answered in place of {model!r}")


def choice_of(body: Json) -> Json:
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise Broken("an answer without a choice")
    return choices[0]


def _content(choice: Json) -> Any:
    message = choice.get("message")
    if not isinstance(message, dict):
        raise Broken("an answer without a message")
    return message.get("content")


def _find(text: Any, stop: str) -> int:
    return text.find(stop) if isinstance(text, str) else -1


def _count(usage: Mapping[str, Any], name: str, otherwise: int) -> int:
    found = usage.get(name)
    return found if isinstance(found, int) and found >= 0 else otherwise


def _starts(tokens: Sequence[str]) -> list[int]:
    """Where each token begins in the text, in characters."""
    starts, place = [], 0
    for token in tokens:
        starts.append(place)
        place += len(token)
    return starts
