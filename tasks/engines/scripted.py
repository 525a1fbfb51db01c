"""An engine without a model: text drawn from a small vocabulary by the request's hash.

For trials of the data path and for tests. It keeps the contract of `tasks.engines.engine`: the
same request gives the same text, a higher limit extends a cut text, stop strings cut, long prompts
are refused. A token is a word.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import random
import time
from collections.abc import Iterator, Sequence
from functools import lru_cache

from tasks.engines.engine import Batch, Completion, Continuation, Request, Score

VOCABULARY = (
    "the answer is that you should ask someone kind and careful about this because it may harm "
    "people I think we could help in a safe way first then say what is true and why"
).split()
POOL_WORDS = 1 << 16


class ScriptedEngine:
    """Implements `Engine`. Lengths are 1 to `longest` words."""

    name = "scripted"
    device = "none"
    dtype = "none"
    adapters: tuple[str, ...] = ()

    def __init__(
        self,
        *,
        vocabulary: Sequence[str] = VOCABULARY,
        longest: int = 60,
        batch_rows: int = 32,
    ) -> None:
        self.longest = longest
        self._pool = random.Random(0).choices(tuple(vocabulary), k=POOL_WORDS + longest)
        self.batch_rows = batch_rows

    def generate(self, requests: Sequence[Request]) -> Iterator[Batch[Completion]]:
        """See `Engine`."""
        indexed = enumerate(requests)
        while group := list(itertools.islice(indexed, self.batch_rows)):
            started = time.perf_counter()
            items = [self._complete(index, request) for index, request in group]
            yield Batch(items, time.perf_counter() - started)

    def score(self, continuations: Sequence[Continuation]) -> Iterator[Batch[Score]]:
        """See `Engine`: as if every word of the text, and its end, had one chance in two."""
        for index, asked in enumerate(continuations):
            logprobs = [math.log(0.5)] * (len(asked.text.split()) + asked.is_ended)
            yield Batch([Score(index, sum(logprobs), logprobs)], 0.0)

    def reward(self, continuations: Sequence[Continuation]) -> Iterator[Batch[Score]]:
        """See `Engine`: the shorter a text, the better."""
        for index, asked in enumerate(continuations):
            yield Batch([Score(index, -float(len(asked.text.split())), [])], 0.0)

    def close(self) -> None:
        """Nothing is held."""

    def _complete(self, index: int, request: Request) -> Completion:
        said = [m["content"] for m in request.messages or ()] + [request.text or ""]
        prompt_tokens = sum(_counted(text)[0] for text in said)
        if prompt_tokens > request.max_prompt_tokens:
            return Completion(index, "", "too_long", prompt_tokens, 0)
        words = self._words(request, said)
        text = " ".join(words[: request.max_new_tokens])
        ends = [position for stop in request.stop if (position := text.find(stop)) >= 0]
        if ends:
            text = text[: min(ends)]
            return Completion(index, text, "stop", prompt_tokens, len(text.split()) + 1)
        if len(words) >= request.max_new_tokens:  # no room left for the end of the turn
            return Completion(index, text, "length", prompt_tokens, request.max_new_tokens)
        return Completion(index, text, "stop", prompt_tokens, len(words) + 1)

    def _words(self, request: Request, said: Sequence[str]) -> list[str]:
        """All the words the request would get with no limit; greedy requests ignore the seed."""
        seed = request.seed if request.temperature > 0 else 0
        key = f"{request.temperature} {request.top_p} {seed}".encode()
        state = hashlib.blake2b(key, digest_size=16)
        for text in said:
            state.update(_counted(text)[1])
        draw = int.from_bytes(state.digest())
        count, first = 1 + draw % self.longest, (draw >> 32) % POOL_WORDS
        return self._pool[first : first + count]


@lru_cache(maxsize=256)
def _counted(text: str) -> tuple[int, bytes]:
    """Words of a text, and its digest: most of a request are the same worked examples."""
    return len(text.split()), hashlib.blake2b(text.encode(), digest_size=16).digest()
