"""One engine writes, another scores, and one of them at a time has the device."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

from tasks.engines.engine import Batch, Completion, Continuation, Engine, Request, Score


class Relay:
    """Implements `Engine` by two engines of the same model and adapters, of which each is closed
    before the other is asked. `name`, `device` and `dtype` are those of the last one asked.

    make_room: ends what the writer leaves behind it.
    """

    def __init__(self, writer: Engine, scorer: Engine, make_room: Callable[[], None]) -> None:
        self._writer, self._scorer, self._make_room = writer, scorer, make_room
        self._now = writer

    @property
    def name(self) -> str:
        return self._now.name

    @property
    def device(self) -> str:
        return self._now.device

    @property
    def dtype(self) -> str:
        return self._now.dtype

    @property
    def adapters(self) -> Collection[str]:
        return self._writer.adapters

    def generate(self, requests: Sequence[Request]) -> Iterator[Batch[Completion]]:
        return self._hand_to(self._writer).generate(requests)

    def score(self, continuations: Sequence[Continuation]) -> Iterator[Batch[Score]]:
        return self._hand_to(self._scorer).score(continuations)

    def reward(self, continuations: Sequence[Continuation]) -> Iterator[Batch[Score]]:
        return self._hand_to(self._scorer).reward(continuations)

    def close(self) -> None:
        self._writer.close()
        self._scorer.close()

    def _hand_to(self, engine: Engine) -> Engine:
        if engine is not self._now:
            self._now.close()
            if self._now is self._writer:
                self._make_room()
            self._now = engine
        return engine
