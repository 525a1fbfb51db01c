"""Which of several servers is asked next: the least busy one that is neither resting nor waiting.

A server that fails three times in a row is set aside, and tried again with one request after 1, 2,
4 ... seconds; one that asks to wait is left alone for as long, and then asked half as much at once.
A server is lost that was set aside as often as `retries` allows without a right answer in between;
while others go on, it is still tried now and then.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from storage.errors import SolonError
from tasks.engines.wire import Broken, Busy, OtherModel, Stopped

FAILURES = 3  # in a row, before a server is set aside
LONGEST_REST = 60.0  # in units of `pace_s`
PATIENCE = 300.0  # how long a server that only fails may be tried, in units of `pace_s`


@dataclass
class Server:
    """One address, and how it fared."""

    url: str
    limit: float  # requests at once, as it seems to bear
    busy: int = 0
    failures: int = 0  # in a row
    rests: int = 0  # in a row
    pauses: int = 0  # in a row
    back_at: float = 0.0  # when it may be asked again, on the clock
    failing_since: float | None = None
    has_answered: bool = False
    problem: str = ""

    @property
    def is_on_trial(self) -> bool:
        return self.rests > 0


@dataclass
class Servers:
    """Deals out servers. `pace_s`: the first back-off, in seconds; the others follow from it."""

    urls: Sequence[str]
    concurrency: int
    retries: int
    pace_s: float = 1.0
    say: Callable[[str], None] = lambda message: None
    all: list[Server] = field(init=False)
    is_ending: bool = False

    def __post_init__(self) -> None:
        self.all = [Server(url, float(self.concurrency)) for url in self.urls]
        self._changed = asyncio.Event()

    async def take(self, not_this: Server | None = None) -> Server:
        """A server to ask, rather another than `not_this`; waits for one.

        Raises SolonError where all are lost, Stopped where the call ends.
        """
        while not self.is_ending:
            if all(self._is_lost(server) for server in self.all):
                raise SolonError(self._lost())
            at = time.monotonic()
            free = [s for s in self.all if s.back_at <= at and s.busy < self._limit(s)]
            if free:
                chosen = min(free, key=lambda s: (s is not_this, s.busy, random.random()))
                chosen.busy += 1
                return chosen
            self._changed.clear()
            waits = [s.back_at - at for s in self.all if s.back_at > at]
            try:
                await asyncio.wait_for(self._changed.wait(), min(waits, default=None))
            except TimeoutError:
                continue
        raise Stopped

    def begin(self) -> None:
        self.is_ending = False

    def end(self) -> None:
        """Deal out no more servers, as the call ends."""
        self.is_ending = True
        self._changed.set()

    def give_back(self, server: Server) -> None:
        server.busy -= 1
        self._changed.set()

    def succeeded(self, server: Server) -> None:
        if server.is_on_trial:
            self.say(f"{server.url} answers again")
        server.failures = server.rests = server.pauses = 0
        server.failing_since, server.has_answered = None, True
        server.limit = min(float(self.concurrency), server.limit + 1 / max(server.limit, 1.0))

    def failed(self, server: Server, error: Broken) -> None:
        """Note a failure: those that come while a server rests began before, and do not count."""
        at = time.monotonic()
        server.failing_since = server.failing_since or at
        server.problem = str(error)
        if server.back_at > at:
            return
        server.failures += 1
        is_wrong = isinstance(error, OtherModel) and not server.has_answered
        if is_wrong:
            server.rests = self.retries
        if is_wrong or server.is_on_trial or server.failures >= FAILURES:
            self._set_aside(server)

    def pause(self, server: Server, error: Busy) -> None:
        """Leave a server alone for as long as it asks, or a growing while."""
        at = time.monotonic()
        server.problem = str(error)
        if server.back_at <= at:
            server.pauses += 1
            server.limit = max(1.0, server.limit / 2)
            server.failing_since = server.failing_since or at
        wait = self._growing(server.pauses) if error.wait_s is None else error.wait_s
        if wait > LONGEST_REST * self.pace_s:
            self.say(f"{server.url} asks to wait {wait:.0f} s ({error})")
        server.back_at = max(server.back_at, at + wait)

    def lose(self, server: Server, reason: str) -> None:
        """Expect nothing more of a server for now."""
        server.problem, server.rests = reason, self.retries
        self._set_aside(server)

    def backoff(self, attempt: int) -> float:
        """Seconds before a request is sent for the `attempt`-th time again."""
        return self._growing(attempt) / 2

    def _set_aside(self, server: Server) -> None:
        server.rests += 1
        server.failures = 0
        server.back_at = time.monotonic() + self._growing(server.rests)
        self.say(f"{server.url} is set aside for now: {server.problem}")

    def _growing(self, times: int) -> float:
        longest = min(LONGEST_REST, 2.0 ** (times - 1)) * self.pace_s
        return longest * random.uniform(0.5, 1.0)

    def _limit(self, server: Server) -> int:
        return 1 if server.is_on_trial else int(server.limit)

    def _is_lost(self, server: Server) -> bool:
        since = server.failing_since
        is_old = since is not None and time.monotonic() - since > PATIENCE * self.pace_s
        tried = max(server.rests, server.pauses)
        return tried > self.retries or (server.rests > 1 and is_old)

    def _lost(self) -> str:
        told = "; ".join(f"{server.url}: {server.problem}" for server in self.all)
        return f"no server answers ({told}); what came is kept: mend it and run again"
