"""The engine of an OpenAI-compatible server, or of several that serve the same model.

Requests run at once on an event loop in a thread of its own, as many a server as it bears; answers
are handed out as they come. Where a call cannot go on, what is still being answered is waited for:
it may have been paid.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from storage.errors import InputError
from tasks.engines import wire
from tasks.engines.client import Access, Client
from tasks.engines.engine import Batch, Completion, Continuation, Item, Request, Score
from tasks.engines.wire import Abilities, Json, Refused, Stopped

T = TypeVar("T")
Job = Callable[[], Awaitable[list[Item]]]
LOG = "log"


class OpenAIEngine:
    """Implements `Engine`.

    model: as the servers name it. adapters: their names, by ours. more: further fields of every
    request for an answer.

    Methods raise InputError where a server refuses, or cannot do what is asked of it, and
    SolonError where none answers any more.
    """

    name = "openai"
    device = "server"
    dtype = "unknown"

    def __init__(
        self,
        access: Access,
        model: str,
        abilities: Abilities,
        *,
        adapters: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
        on_event: Callable[[dict[str, Any]], None] = lambda event: None,
    ) -> None:
        self.access, self.model, self.abilities = access, model, abilities
        self.adapters, self.more = dict(adapters or {}), dict(more or {})
        self._on_event, self._said = on_event, queue.SimpleQueue[str]()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: Client | None = None

    def generate(self, requests: Sequence[Request]) -> Iterator[Batch[Completion]]:
        jobs = [partial(self._complete, i, request) for i, request in enumerate(requests)]
        return self._call(jobs)

    def score(self, continuations: Sequence[Continuation]) -> Iterator[Batch[Score]]:
        """See `Engine`: of raw text, and of options of one token each."""
        jobs: list[Job[Score]] = []
        shared: dict[tuple[Any, ...], list[tuple[int, Continuation]]] = {}
        for index, asked in enumerate(continuations):
            self._check(asked)
            if asked.messages:
                said = tuple(tuple(m.items()) for m in asked.messages)
                shared.setdefault((said, asked.adapter), []).append((index, asked))
            else:
                jobs.append(partial(self._echo, index, asked))
        jobs += [partial(self._choose, own) for own in shared.values()]
        return self._call(jobs)

    def reward(self, continuations: Sequence[Continuation]) -> Iterator[Batch[Score]]:
        raise InputError(self.model, "a server gives no rewards", "use the engine transformers")

    def close(self) -> None:
        """End the connections and their thread, if there are any."""
        loop, self._loop = self._loop, None
        client, self._client = self._client, None
        if loop is not None and client is not None:
            asyncio.run_coroutine_threadsafe(client.close(), loop).result()
            loop.call_soon_threadsafe(loop.stop)

    def _check(self, asked: Continuation) -> None:
        """Raise InputError where servers cannot tell what is asked."""
        fix = "use the engine transformers, or judge.verdicts=sampled"
        is_whole = not asked.is_ended and asked.context is None
        if not is_whole or asked.temperature not in (0.0, 1.0):
            rule = "a server scores at temperature 1, no end of a turn and no part of a text"
            raise InputError(self.model, rule, fix, "server")
        if not (self.abilities.top_logprobs if asked.messages else self.abilities.echo is not None):
            what = "of an answer's first token" if asked.messages else "of a given text"
            rule = f"the server gives no log-probabilities {what}"
            raise InputError(self.model, rule, fix, "server")

    def _named(self, adapter: str | None) -> str:
        return self.model if adapter is None else self.adapters[adapter]

    async def _complete(self, index: int, request: Request) -> list[Completion]:
        model = self._named(request.adapter)
        path, body = wire.generation(request, model, self.abilities)
        read = _of(model, partial(wire.completion, index, request))
        try:
            return [await self._ready.ask(path, body | self.more, read)]
        except Refused as error:
            found = wire.refused(index, request, error)
            if found is None:
                raise
            return [found]

    async def _choose(self, asked: Sequence[tuple[int, Continuation]]) -> list[Score]:
        model = self._named(asked[0][1].adapter)
        path, body = wire.options(asked[0][1], model, self.abilities)
        body |= self.more
        read = _of(model, partial(wire.option_scores, asked))
        return await self._unless_too_long([i for i, _ in asked], self._ready.ask(path, body, read))

    async def _echo(self, index: int, asked: Continuation) -> list[Score]:
        model = self._named(asked.adapter)
        path, body = wire.echo(asked.text, model, self.abilities)
        read = _of(model, lambda found: [wire.echo_score(index, asked.text, found)])
        return await self._unless_too_long([index], self._ready.ask(path, body, read))

    async def _unless_too_long(
        self, indices: Sequence[int], scores: Awaitable[list[Score]]
    ) -> list[Score]:
        """The scores; minus infinity where the server cannot read so much."""
        try:
            return await scores
        except Refused as error:
            if not error.is_too_long:
                raise
        return [Score(index, float("-inf"), []) for index in indices]

    @property
    def _ready(self) -> Client:
        """The client, whose loop runs."""
        if self._client is None:
            raise RuntimeError("asked before the loop was started")
        return self._client

    def _started(self) -> asyncio.AbstractEventLoop:
        """The loop, started in its thread if need be."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=_run, args=[self._loop], daemon=True, name="openai").start()
            self._client = self._in_loop(self._open())
        return self._loop

    async def _open(self) -> Client:
        return Client(self.access, self._said.put)

    def _in_loop(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._started()).result()

    def _call(self, jobs: Sequence[Job[Item]]) -> Iterator[Batch[Item]]:
        """Do the jobs; whoever leaves early loses what is unfinished."""
        if not jobs:
            return
        made: queue.SimpleQueue[list[Item] | None] = queue.SimpleQueue()
        started, loop = time.perf_counter(), self._started()
        call = asyncio.run_coroutine_threadsafe(self._work(jobs, made.put), loop)
        call.add_done_callback(lambda _: made.put(None))
        try:
            is_done = False
            while not is_done:
                items, is_done = _waiting(made)
                self._tell()
                if items:
                    yield Batch(items, time.perf_counter() - started)
                    started = time.perf_counter()
            self._result(call.result)
        finally:
            call.cancel()
            self._tell()

    async def _work(
        self, jobs: Sequence[Job[Item]], put: Callable[[list[Item] | None], None]
    ) -> None:
        """Do the jobs, as many at once as the servers may bear; the first failure ends them."""
        todo, failures, servers = iter(jobs), list[Exception](), self._ready.servers
        servers.begin()

        async def one_after_another() -> None:
            for job in todo:
                if servers.is_ending:
                    return
                try:
                    put(await job())
                except Stopped:
                    return
                except Exception as error:
                    failures.append(error)
                    servers.end()

        at_once = min(len(jobs), self.access.concurrency * len(self.access.base_urls))
        await asyncio.gather(*(one_after_another() for _ in range(at_once)))
        if failures:
            raise failures[0]

    def _result(self, result: Callable[[], None]) -> None:
        """Raise what ended a call, a server's refusal as a line of ours."""
        try:
            result()
        except Refused as error:
            fix = "see what the server knows and what the recipe names"
            raise InputError(self.model, f"the server refuses ({error})", fix, "server") from None

    def _tell(self) -> None:
        """Pass on what was said in the loop's thread."""
        while not self._said.empty():
            self._on_event({"event": LOG, "message": self._said.get()})


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()
    loop.close()


def _waiting(made: queue.SimpleQueue[list[Item] | None]) -> tuple[list[Item], bool]:
    """(what has come by now, whether that is all); waits a second at most for the first."""
    items: list[Item] = []
    try:
        found = made.get(timeout=1.0)
        while found is not None:
            items += found
            found = made.get_nowait()
    except queue.Empty:
        return items, False
    return items, True


def _of(model: str, read: Callable[[Json], T]) -> Callable[[Json], T]:
    """`read`, of answers by this model only."""

    def checked(body: Json) -> T:
        wire.check_model(body, model)
        return read(body)

    return checked
