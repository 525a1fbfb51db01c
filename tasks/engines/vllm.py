"""The engine of a vLLM server of our own: started by the first call, asked as any other server.

It gives answers of the base and of adapters, and log-probabilities of one-token options. What else
is scored or rewarded is the embedded engine's: see `relay.py`. vLLM reads a template's markers in
messages too, so one that somebody writes is sent with a space of no width in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from storage.errors import InputError, SolonError
from tasks.chat.calls import CALLS
from tasks.chat.fold import fold
from tasks.chat.folder import read_json, read_template
from tasks.chat.manner import DEFAULT, Manner
from tasks.chat.template import SWITCHES
from tasks.engines.client import Access
from tasks.engines.engine import Batch, Completion, Continuation, Message, Request, Score
from tasks.engines.openai import OpenAIEngine
from tasks.engines.vllm_command import LOGPROBS
from tasks.engines.vllm_server import OnEvent, VllmServer
from tasks.engines.wire import Abilities

T = TypeVar("T")
Asked = TypeVar("Asked", Request, Continuation)
APART = "\u200b"  # a space of no width
ABILITIES = Abilities(seeds=True, top_logprobs=LOGPROBS, echo=0)
ANSWER_S = 3600.0  # with the wait behind others; whether the server lives is seen otherwise
RETRIES = 2


class VllmEngine:
    """Implements `Engine`. `adapters`: the folder of each, by name.

    The server is its maker's to end. Methods raise SolonError with what the server's log says where
    it is gone; the next call starts it anew.
    """

    name = "vllm"

    def __init__(
        self,
        server: VllmServer,
        adapters: Mapping[str, Path],
        *,
        manner: Manner = DEFAULT,
        concurrency: int = 256,
        on_event: OnEvent = lambda event: None,
    ) -> None:
        self.server, self.adapters = server, dict(adapters)
        self._concurrency, self._on_event = concurrency, on_event
        self._client: OpenAIEngine | None = None
        self._words = Words(server.folder, manner)

    @property
    def device(self) -> str:
        return self.server.device

    @property
    def dtype(self) -> str:
        return self.server.dtype

    def generate(self, requests: Sequence[Request]) -> Iterator[Batch[Completion]]:
        client = self._ready([request.adapter for request in requests])
        return self._watched(client.generate([self._plain(request) for request in requests]))

    def score(self, continuations: Sequence[Continuation]) -> Iterator[Batch[Score]]:
        client = self._ready([asked.adapter for asked in continuations])
        return self._watched(client.score([self._plain(asked) for asked in continuations]))

    def reward(self, continuations: Sequence[Continuation]) -> Iterator[Batch[Score]]:
        raise InputError("vllm", "a server gives no rewards", "use the engine transformers")

    def close(self) -> None:
        """End the connections to the server."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _ready(self, adapters: Sequence[str | None]) -> OpenAIEngine:
        """What asks the server, which is up and has these adapters."""
        if not self.server.is_up:
            self.close()
            self.server.start()
        for name in dict.fromkeys(adapters):
            if name is not None:
                self.server.load(name, self.adapters[name])
        if self._client is None:
            url = f"{self.server.url}/v1"
            access = Access(
                (url,), self.server.key, self._concurrency, ANSWER_S, RETRIES, 1.0, True
            )
            self._client = OpenAIEngine(
                access,
                self.server.name,
                ABILITIES,
                adapters={name: name for name in self.adapters},
                more=self._words.fields,
                on_event=self._on_event,
            )
        return self._client

    def _plain(self, asked: Asked) -> Asked:
        if not asked.messages:
            return asked
        return replace(asked, messages=self._words.plain(asked.messages))

    def _watched(self, answers: Iterator[T]) -> Iterator[T]:
        """The answers; where the server ends meanwhile, its log says why."""
        try:
            yield from answers
        except SolonError as error:
            problem = self.server.gone()
            if isinstance(error, InputError) or problem is None:
                raise
            self.close()
            self.server.close()
            raise problem from None


class Words:
    """What a model's folder says of its conversations: how messages are folded for its template,
    whose text is no control token, and what ends an answer.
    """

    def __init__(self, folder: Path, manner: Manner) -> None:
        self._folder, self._manner = folder, manner
        self._template = read_template(folder, manner)
        found = read_json(folder / "tokenizer.json").get("added_tokens") or []
        written = self._template.source if self._template else ""
        self._controls = {
            str(token["content"]): int(token["id"])
            for token in found
            if token["content"] and (token.get("special") or token["content"] in written)
        }

    def plain(self, messages: Sequence[Message]) -> Sequence[Message]:
        """The messages as the template takes them, in which nobody's text is a control token."""
        folded = fold(messages, self._template.traits) if self._template else messages
        if not self._controls:
            return folded
        longest_first = sorted(self._controls, key=len, reverse=True)
        marker = re.compile("|".join(map(re.escape, longest_first)))
        parted = ("content", CALLS)
        return [
            {
                name: marker.sub(_apart, text) if name in parted else text
                for name, text in one.items()
            }
            for one in folded
        ]

    @property
    def fields(self) -> dict[str, object]:
        """Of every request: what ends an answer beside the tokenizer's token, as the embedded
        engine reads it, and the template's switch.
        """
        found: object = None
        for name in ("generation_config.json", "config.json"):
            found = found or read_json(self._folder / name).get("eos_token_id")
        listed = found if isinstance(found, list) else [found]
        ends = {token for token in listed if isinstance(token, int)}
        closing = self._template.traits.closing if self._template else ""
        written = [control for control in self._controls if control in closing]
        if written:
            ends.add(self._controls[min(written, key=lambda c: (closing.index(c), -len(c)))])
        thinking = self._manner.thinking
        ending: dict[str, object] = {"stop_token_ids": sorted(ends)}
        if thinking is None:
            return ending
        return ending | {"chat_template_kwargs": dict.fromkeys(SWITCHES, thinking)}


def _apart(marker: re.Match[str]) -> str:
    return marker[0][0] + APART + marker[0][1:]
