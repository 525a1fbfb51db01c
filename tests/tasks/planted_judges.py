"""Judges whose faults are known: an engine that reads two responses and picks one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from tasks.engines.engine import Batch, Completion, Continuation, Request, Score
from tasks.engines.scripted import ScriptedEngine

Pick = Callable[[str, str], float]  # (response A, response B) -> probability of the letter A


def always_first(a: str, b: str) -> float:
    return 0.9


def longest(a: str, b: str) -> float:
    return 0.9 if len(a) > len(b) else 0.1


def perfect(a: str, b: str) -> float:
    return 0.9 if "good" in a else 0.1


def swapped(a: str, b: str) -> float:
    return 1.0 - perfect(a, b)


class PlantedJudge(ScriptedEngine):
    """Implements `Engine` and keeps what it is asked; with `said` its samples are these in turn."""

    def __init__(self, pick: Pick = perfect, said: Sequence[str] = ()) -> None:
        super().__init__()
        self.pick, self.said = pick, said
        self.scored: list[Continuation] = []
        self.generated: list[Request] = []

    def score(self, continuations: Sequence[Continuation]) -> Iterator[Batch[Score]]:
        self.scored += continuations
        items = []
        for index, asked in reversed(list(enumerate(continuations))):  # any order is allowed
            share = self.pick(*responses(asked.messages))
            share = share if asked.text == "A" else 1.0 - share
            value = math.log(0.4 * max(share, 1e-12))  # other tokens have the rest
            items.append(Score(index, value, [value]))
        for start in range(0, len(items), 3):  # no batch is a whole comparison
            yield Batch(items[start : start + 3], 0.3)

    def generate(self, requests: Sequence[Request]) -> Iterator[Batch[Completion]]:
        self.generated += requests
        if not self.said:
            yield from super().generate(requests)
            return
        items = [
            Completion(n, self.said[n % len(self.said)], "stop", 9, 2) for n in range(len(requests))
        ]
        yield Batch(items, 0.1)


def responses(messages: Sequence[object]) -> tuple[str, str]:
    """The two responses of the last request that holds any."""
    asked = [m["content"] for m in messages if "Response A:" in m["content"]]  # type: ignore[index]
    first, _, rest = asked[-1].partition("Response A:\n")[2].partition("\n\nResponse B:\n")
    return first, rest.partition("\n\nQuestion: ")[0]
