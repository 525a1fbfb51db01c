"""An engine without a model: text drawn from a small vocabulary by the request's hash.

For trials of the data path and for tests. It keeps the contract of `tasks.generation.engine`: the
same request gives the same text, a higher limit extends a cut text, stop strings cut, long prompts
are refused. A token is a word.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import time
from collections.abc import Iterator, Sequence

from tasks.generation.engine import Batch, Completion, Request

VOCABULARY = (
    "the answer is that you should ask someone kind and careful about this because it may harm "
    "people I think we could help in a safe way first then say what is true and why"
).split()


class ScriptedEngine:
    """Implements `Engine`. Lengths are 1 to `longest` words; `latency_s` is slept once a batch."""

    name = "scripted"
    device = "none"
    dtype = "none"

    def __init__(
        self,
        *,
        vocabulary: Sequence[str] = VOCABULARY,
        longest: int = 60,
        batch_rows: int = 32,
        latency_s: float = 0.0,
    ) -> None:
        self.vocabulary = tuple(vocabulary)
        self.longest = longest
        self.batch_rows = batch_rows
        self.latency_s = latency_s

    def generate(self, requests: Sequence[Request]) -> Iterator[Batch]:
        """See `Engine`."""
        indexed = enumerate(requests)
        while group := list(itertools.islice(indexed, self.batch_rows)):
            started = time.perf_counter()
            time.sleep(self.latency_s)
            items = [self._complete(index, request) for index, request in group]
            yield Batch(items, time.perf_counter() - started, len(items))

    def close(self) -> None:
        """Nothing is held."""

    def _complete(self, index: int, request: Request) -> Completion:
        prompt = request.text or " ".join(message["content"] for message in request.messages or ())
        prompt_tokens = len(prompt.split())
        if prompt_tokens > request.max_prompt_tokens:
            return Completion(index, "", "too_long", prompt_tokens, 0)
        words = self._words(request)
        text = " ".join(words[: request.max_new_tokens])
        ends = [position for stop in request.stop if (position := text.find(stop)) >= 0]
        if ends:
            text = text[: min(ends)]
            return Completion(index, text, "stop", prompt_tokens, len(text.split()) + 1)
        if len(words) >= request.max_new_tokens:  # no room left for the end of the turn
            return Completion(index, text, "length", prompt_tokens, request.max_new_tokens)
        return Completion(index, text, "stop", prompt_tokens, len(words) + 1)

    def _words(self, request: Request) -> list[str]:
        """All the words the request would get with no limit; greedy requests ignore the seed."""
        said = (
            request.text
            if request.messages is None
            else [dict(message) for message in request.messages]
        )
        seed = request.seed if request.temperature > 0 else 0
        key = json.dumps([said, request.temperature, request.top_p, seed], sort_keys=True)
        draw = random.Random(hashlib.blake2b(key.encode(), digest_size=16).digest())
        return [draw.choice(self.vocabulary) for _ in range(draw.randint(1, self.longest))]
