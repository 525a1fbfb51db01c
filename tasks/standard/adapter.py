"""An engine of ours as a model of lm-eval. Imports the library: import this only when it is used.

The library knows three questions. `loglikelihood` and `loglikelihood_rolling` are `Engine.score`
of raw text, tokenised as the library's own adapter of transformers does it; `generate_until` is
`Engine.generate`, greedy. With `is_chat` what stands before an answer is a conversation, which the
library hands on as this module's JSON and the engine renders with the model's template.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from lm_eval.api.model import LM

from storage.errors import InputError
from tasks.engines.engine import Continuation, Message, Request
from tasks.standard.memo import Asker, Question

NO_LIMIT = 1 << 30  # of a prompt: the model's context is the limit
NEW_TOKENS = 256  # where a task names no limit, as the library's own adapter
GREEDY = {"do_sample": False, "temperature": 0.0}
KNOWN = {"until", "max_gen_toks", "max_new_tokens", "max_tokens", "top_p", "top_k", *GREEDY}


class EngineLM(LM):  # type: ignore[misc]
    """Implements the library's `LM`; `requests` are its Instances."""

    tokenizer_name = "solon"  # of request caches, which are not used

    def __init__(self, asker: Asker, is_chat: bool = False) -> None:
        super().__init__()
        self._asker, self._is_chat = asker, is_chat

    def loglikelihood(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """(log-probability of the continuation, whether greedy decoding writes it)."""
        questions = [Question(self._continuation(*request.args[:2])) for request in requests]
        return [(float(r.logprob or 0.0), bool(r.is_greedy)) for r in self._asker.ask(questions)]

    def loglikelihood_rolling(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[float]:
        """Log-probabilities of whole texts, each by itself and always as raw text."""
        questions = [
            Question(Continuation((), request.args[0], False, context="")) for request in requests
        ]
        return [float(reply.logprob or 0.0) for reply in self._asker.ask(questions)]

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """What the model writes; nothing where the question does not fit its context."""
        questions = [Question(self._request(*request.args[:2])) for request in requests]
        return [reply.text or "" for reply in self._asker.ask(questions)]

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """The conversation as JSON, for `_conversation`."""
        if not add_generation_prompt:
            rule = "it begins the assistant's answer, which a conversation has no room for"
            raise InputError("a task", rule, "leave out --chat", "--tasks")
        return json.dumps(chat_history, ensure_ascii=False)

    def _conversation(self, context: str) -> list[Message] | None:
        """What `apply_chat_template` wrote; None for raw text."""
        return json.loads(context) if self._is_chat and context else None

    def _continuation(self, context: str, text: str) -> Continuation:
        messages = self._conversation(context)
        if messages is None:
            return Continuation((), text, False, context=context)
        return Continuation(messages, text, False)

    def _request(self, context: str, how: dict[str, Any]) -> Request:
        """Raises InputError for what asks more than greedy decoding until a text."""
        unknown = sorted(set(how) - KNOWN)
        if unknown or how.get("do_sample") or how.get("temperature"):
            what = ", ".join(unknown) or "sampling"
            raise InputError(what, "answers to standard tasks are greedy", "leave out the task")
        limits = (how.get(name) for name in ("max_gen_toks", "max_new_tokens", "max_tokens"))
        until, messages = how.get("until") or (), self._conversation(context)
        return Request(
            messages=messages,
            text=context if messages is None else None,
            temperature=0.0,
            top_p=1.0,
            stop=(until,) if isinstance(until, str) else tuple(until),
            max_new_tokens=next((int(limit) for limit in limits if limit), NEW_TOKENS),
            max_prompt_tokens=NO_LIMIT,
            seed=0,
        )
